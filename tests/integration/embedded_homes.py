"""Homes of the embedded server: owned here, or by another process that is then ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from vault_service.adapters.postgres.embedded import process
from vault_service.adapters.postgres.embedded.lock import HomeInUse
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres

_OWNER = """
import sys, time
from pathlib import Path
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
bindir = Path(sys.argv[2]) if len(sys.argv) > 2 else None
with EmbeddedPostgres.own(Path(sys.argv[1]), bindir=bindir, shared_buffers="64MB"):
    print("ready", flush=True)
    time.sleep(600)
"""


def own(home: Path, bindir: Path | None) -> EmbeddedPostgres:
    return EmbeddedPostgres.own(home, bindir=bindir, shared_buffers="64MB")


def one(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def ended_owner(home: Path, bindir: Path | None, number: signal.Signals) -> int | None:
    """Let another process own the home and send it a signal. The process id of the server
    that it leaves behind, if any."""
    arguments = [str(home)] + ([] if bindir is None else [str(bindir)])
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER, *arguments], stdout=subprocess.PIPE, start_new_session=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        with pytest.raises(HomeInUse):
            own(home, bindir)
        os.killpg(owner.pid, number)
    return process.running(home / "postgres")


def killed_owner(home: Path, bindir: Path | None) -> int:
    """The process id of the server that a killed owner leaves behind."""
    pid = ended_owner(home, bindir, signal.SIGKILL)
    assert pid is not None
    return pid
