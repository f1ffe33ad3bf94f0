"""The places where a service may keep what it was sent, and how those outside its database
are read: its traces, its processes, and what its workers count together."""

import contextlib
import gzip
import os
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx2


@dataclass
class Kept:
    """Everything that was found kept after the canaries had passed."""

    answers: list[httpx2.Response] = field(default_factory=list)
    raw_answers: list[bytes] = field(default_factory=list)
    outputs: dict[str, bytes] = field(default_factory=dict)
    processes: dict[str, bytes] = field(default_factory=dict)
    metrics: dict[str, bytes] = field(default_factory=dict)
    traces: dict[str, bytes] = field(default_factory=dict)
    dumps: dict[str, bytes] = field(default_factory=dict)
    rows: dict[str, bytes] = field(default_factory=dict)
    log: bytes = b""
    folders: list[Path] = field(default_factory=list)
    data: Path = Path()


class Collector(BaseHTTPRequestHandler):
    """Takes what an OTLP exporter sends."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.bodies.append(body)  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""


def group(leader: int) -> list[int]:
    """The processes of the group that ``leader`` leads."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if os.getpgid(int(folder.name)) == leader:
                found.append(int(folder.name))
    return found


def process(pid: int) -> dict[str, bytes]:
    """What the machine shows of a process; its environment not even to its own user."""
    found = {f"{pid} cmdline": Path(f"/proc/{pid}/cmdline").read_bytes()}
    with contextlib.suppress(PermissionError):
        found[f"{pid} environ"] = Path(f"/proc/{pid}/environ").read_bytes()
    return found


def shared_counts(pids: list[int]) -> Path | None:
    """Where these workers count together."""
    for folder in Path("/dev/shm").glob("strongroom-metrics-*"):
        with contextlib.suppress(OSError):
            if any(path.stem.endswith(f"_{pid}") for path in folder.iterdir() for pid in pids):
                return folder
    return None
