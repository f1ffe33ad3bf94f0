"""No value, and no card number from anywhere in a request, is ever written down.

Canaries go into every place of accepted and refused requests, also while the database
fails, and are then looked for in all that the service, the database and the collector
of traces keep (PCI-DSS 3.4.1, 3.5.1, 10.3.1; OWASP ASVS 5 16.2.5). The database logs all
it can: every statement with every parameter.
"""

import contextlib
import gzip
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx2
import psycopg
import pytest

from tests.attacks import barrage
from tests.attacks.canaries import PAN, PURPOSE, WORD, batch, item, pan, spaced, word
from tests.attacks.dumps import dump, tables
from tests.attacks.needles import Sweep, leaves, writings
from tests.serving import Server, new_server
from vault_service.adapters.postgres.embedded import EmbeddedPostgres

CONTROL_PAN: Final = "4539148803"
CONTROL_WORD: Final = "qzalbatros"
_SWEEP: Final = Sweep(PAN, WORD)
_CONTROL: Final = Sweep(CONTROL_PAN, CONTROL_WORD)
_DATABASE_SETTINGS: Final = {
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
    "log_min_messages": "debug1",
    "log_min_error_statement": "debug1",
    "log_error_verbosity": "verbose",
    "wal_compression": "off",  # it would hide a text from the search
    "synchronous_commit": "off",  # nothing is asked here of durability
}


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


class _Collector(BaseHTTPRequestHandler):
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


@pytest.fixture(scope="module")
def collector() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Collector) as server:
        server.bodies = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, pg_bindir: Path | None
) -> Iterator[EmbeddedPostgres]:
    """A server of its own, so that all of its files can be searched."""
    home = tmp_path_factory.mktemp("canary")
    with EmbeddedPostgres.own(home, bindir=pg_bindir, shared_buffers="32MB") as server:
        yield server
    shutil.rmtree(home)


def _server(
    cluster: EmbeddedPostgres, folder: Path, environment: dict[str, str], workers: int
) -> Server:
    (folder / "temporary").mkdir()
    environment = {**environment, "TMPDIR": str(folder / "temporary")}
    server = new_server(cluster, folder, workers=workers, environment=environment)
    for name, value in _DATABASE_SETTINGS.items():
        server.query(f"ALTER DATABASE {server.database} SET {name} = '{value}'")
    return server.start()


@pytest.fixture(scope="module")
def kept(
    cluster: EmbeddedPostgres,
    collector: ThreadingHTTPServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Kept]:
    """Both ways in, with tracing and without it, after all canaries have passed."""
    kept = Kept(data=cluster.home / "postgres")
    endpoint = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    servers = {
        "traced": _server(cluster, tmp_path_factory.mktemp("traced"), endpoint, 1),
        "plain": _server(cluster, tmp_path_factory.mktemp("plain"), {}, 2),
    }
    with ThreadPoolExecutor(len(servers)) as threads:
        for answers, raw_answers in threads.map(_attack, servers.values()):
            kept.answers += answers
            kept.raw_answers += raw_answers
    kept.answers += _database_gone(cluster, servers["plain"])
    for name, server in servers.items():
        server.wait()
        kept.metrics[name] = server.caller(None).get("/metrics").content
        assert server.process is not None
        pids = _group(server.process.pid)
        for pid in pids:
            kept.processes |= _process(pid)
        _plant(server)
        server.query("ANALYZE")
        shared = _shared_counts(pids)
        if shared is not None:
            kept.folders.append(shutil.copytree(shared, server.directory / "counts"))
        server.stop()
        kept.outputs[f"{name} stdout"] = server.stdout.read_bytes()
        kept.outputs[f"{name} stderr"] = server.stderr.read_bytes()
        kept.folders += [server.home, server.directory / "temporary"]
        kept.dumps[name] = dump(server.superuser_url)
        for table, rows in tables(server):
            kept.rows[f"{name} {table}"] = b"\n".join(leaves(rows))
        server.query("CHECKPOINT")
    kept.traces = {"spans": b"\n".join(collector.bodies)}  # type: ignore[attr-defined]
    kept.log = (cluster.home / "postgres.log").read_bytes()
    yield kept
    for server in servers.values():
        server.close()


def _attack(server: Server) -> tuple[list[httpx2.Response], list[bytes]]:
    answers = barrage.accepted(server) + barrage.refused(server)
    answers += barrage.headers(server) + barrage.urls(server)
    answers += barrage.credentials(server, server.key("load-tester"))
    raw_answers = barrage.broken_http(server)
    return answers + _database_errors(server), raw_answers


def _database_errors(server: Server) -> list[httpx2.Response]:
    """What the database refuses, and what nobody foresaw."""
    tester = server.caller("load-tester")
    answers = []

    def post(data_class: str, value: str) -> None:
        body = batch(item(data_class=data_class, value=value, subject="cus_9"))
        answers.append(tester.post("/v1/tokenize", body))
        asked = {"data_class": data_class, "value": value}
        answers.append(tester.post("/v1/lookup", asked))

    for table in ("tokens", "audit_events"):
        server.query(
            "CREATE FUNCTION strongroom.fail() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN RAISE EXCEPTION ''no: %'', NEW; END';"
            f" CREATE TRIGGER fail BEFORE INSERT ON strongroom.{table}"
            " FOR EACH ROW EXECUTE FUNCTION strongroom.fail()"
        )
        post("pan", pan())
        post("person_name", word())
        server.query(f"DROP TRIGGER fail ON strongroom.{table}; DROP FUNCTION strongroom.fail()")
    server.query("ALTER TABLE strongroom.tokens RENAME COLUMN ciphertext TO elsewhere")
    post("pan", spaced())
    post("free_text", f"{word()} {pan()}")
    server.query("ALTER TABLE strongroom.tokens RENAME COLUMN elsewhere TO ciphertext")
    value = pan()
    [token] = tester.tokenize("pan", [value])
    server.query("ALTER TABLE strongroom.tokens ALTER COLUMN expires_at TYPE text")
    server.query("UPDATE strongroom.tokens SET expires_at = 'soon' WHERE token = %s", token)
    _hang_up(server)
    answers.append(tester.post("/v1/lookup", {"data_class": "pan", "value": value}))
    answers.append(tester.post("/v1/detokenize", batch({"token": token}, purpose=PURPOSE)))
    server.query("UPDATE strongroom.tokens SET expires_at = NULL WHERE token = %s", token)
    server.query(
        "ALTER TABLE strongroom.tokens"
        " ALTER COLUMN expires_at TYPE timestamptz USING expires_at::timestamptz"
    )
    _hang_up(server)
    post("pan", pan())
    assert {500, 503} <= {answer.status_code for answer in answers}
    assert b"unexpected_error" in server.stderr.read_bytes()
    return answers


def _hang_up(server: Server) -> None:
    """Close the service's connections under its hands."""
    server.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE usename <> current_user AND datname = current_database()"
    )


def _database_gone(cluster: EmbeddedPostgres, server: Server) -> list[httpx2.Response]:
    """Requests while there is no database, cut off in the middle of their work."""
    pid = int((cluster.home / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
    tester = server.caller("load-tester")
    answers: list[httpx2.Response] = []

    def ask() -> None:
        caller = server.caller("load-tester")
        bodies = [batch(*[item(value=pan())] * 20) for _ in range(20)]
        answers.extend(caller.post("/v1/tokenize", body) for body in bodies)

    server.key("load-tester")
    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    os.kill(pid, signal.SIGQUIT)
    for thread in asking:
        thread.join()
    bodies = (batch(item(value=pan())), batch({"token": pan()}, purpose=PURPOSE))
    for path, body in zip(("/v1/tokenize", "/v1/detokenize"), bodies, strict=True):
        answers.append(tester.post(path, body))
    answers.append(tester.post("/v1/lookup", {"data_class": "pan", "value": pan()}))
    assert 503 in {answer.status_code for answer in answers}
    cluster.ensure_running()
    return answers


def _group(leader: int) -> list[int]:
    """The processes of the group that ``leader`` leads."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if os.getpgid(int(folder.name)) == leader:
                found.append(int(folder.name))
    return found


def _process(pid: int) -> dict[str, bytes]:
    """What the machine shows of a process; its environment not even to its own user."""
    found = {f"{pid} cmdline": Path(f"/proc/{pid}/cmdline").read_bytes()}
    with contextlib.suppress(PermissionError):
        found[f"{pid} environ"] = Path(f"/proc/{pid}/environ").read_bytes()
    return found


def _shared_counts(pids: list[int]) -> Path | None:
    """Where these workers count together."""
    for folder in Path("/dev/shm").glob("strongroom-metrics-*"):
        with contextlib.suppress(OSError):
            if any(path.stem.endswith(f"_{pid}") for path in folder.iterdir() for pid in pids):
                return folder
    return None


def _plant(server: Server) -> None:
    """The other canaries, in every writing, where a real one would be found."""
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE public.planted (word text, raw bytea, parts jsonb)")
        for text in (CONTROL_PAN, CONTROL_WORD):
            for pattern in writings(text).values():
                shown = pattern.decode("latin-1").replace("\0", "~")
                connection.execute(
                    "INSERT INTO public.planted VALUES (%s, %s, %s)",
                    (shown, pattern, json.dumps([shown])),
                )
            connection.execute(f"SELECT 'log {text}'".encode())


def _texts(answer: httpx2.Response) -> Iterator[bytes]:
    yield answer.content
    for name, value in answer.headers.raw:
        yield name + b": " + value


def test_answers_do_not_echo(kept: Kept) -> None:
    assert len(kept.answers) > 900
    texts = {str(at): b"\n".join(_texts(answer)) for at, answer in enumerate(kept.answers)}
    assert _SWEEP.of_texts(texts) == []
    assert len(kept.raw_answers) >= 50
    assert _SWEEP.of(b"\n".join(kept.raw_answers)) == []


def test_service_output_holds_no_canary(kept: Kept) -> None:
    assert _SWEEP.of_texts(kept.outputs) == []
    for name in ("traced", "plain"):
        assert b"Strongroom is ready" in kept.outputs[f"{name} stdout"]
        assert b"database_error" in kept.outputs[f"{name} stderr"]


def test_metrics_hold_no_canary(kept: Kept) -> None:
    assert _SWEEP.of_texts(kept.metrics) == []
    assert all(b"strongroom_" in page for page in kept.metrics.values())


def test_traces_hold_no_canary(kept: Kept) -> None:
    assert _SWEEP.of_texts(kept.traces) == []
    assert b"/v1/tokens/{token}" in kept.traces["spans"]


def test_database_log_holds_no_canary(kept: Kept) -> None:
    assert _SWEEP.of(kept.log) == []
    assert b"strongroom.store_new" in kept.log, "statements are logged"
    assert kept.log.count(b"DETAIL:  parameters: $1 = ") > 100, "and their parameters"


def test_dump_holds_no_canary(kept: Kept) -> None:
    assert _SWEEP.of_texts(kept.dumps) == []
    assert all(dump.count(b"tok_pan_") > 400 for dump in kept.dumps.values())


def test_rows_hold_no_canary(kept: Kept) -> None:
    assert _SWEEP.of_texts(kept.rows) == []
    assert all(kept.rows[f"{name} strongroom.tokens"] for name in ("traced", "plain"))


def test_data_files_and_wal_hold_no_canary(kept: Kept) -> None:
    files, found = _SWEEP.of_folder(kept.data)
    assert found == []
    assert files > 500


def test_other_files_hold_no_canary(kept: Kept) -> None:
    for folder in kept.folders:
        assert _SWEEP.of_folder(folder)[1] == []
    assert any((folder / "root.key").exists() for folder in kept.folders)


def test_processes_show_no_canary(kept: Kept) -> None:
    assert _SWEEP.of_texts(kept.processes) == []
    assert len(kept.processes) >= 4


def test_planted_canaries_are_found(kept: Kept) -> None:
    """The search means something: in each place it finds what does stand there."""
    planted = {
        pattern for text in (CONTROL_PAN, CONTROL_WORD) for pattern in writings(text).values()
    }
    places: dict[str, Any] = {"log": kept.log, **kept.dumps}
    for name, content in places.items():
        assert _CONTROL.of(content), name
    rows = kept.rows["plain public.planted"]
    assert all(pattern in rows for pattern in planted)
    _, found = _CONTROL.of_folder(kept.data)
    assert len([hit for hit in found if "/base/" in hit]) >= len(planted)
    assert len([hit for hit in found if "/pg_wal/" in hit]) >= len(planted)
