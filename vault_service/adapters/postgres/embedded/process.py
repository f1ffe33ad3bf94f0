"""Starts, finds and stops the embedded server's postmaster.

The postmaster has a session of its own, so that Ctrl-C at the terminal reaches the
program that owns it and not the database beneath it.
"""

import contextlib
import os
import shutil
import signal
import subprocess  # nosec B404 - only fixed argument lists, never a shell
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from vault_service.adapters.postgres.embedded.account import Account
from vault_service.adapters.postgres.embedded.binaries import ENVIRONMENT, Binaries
from vault_service.adapters.postgres.embedded.state import SUPERUSER, sync_folder
from vault_service.domain.errors import ConfigurationError

POLL_SECONDS: Final = 0.02
_STOP_SECONDS: Final = 60.0
_PROCESSES: Final = Path("/proc")

_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "password_encryption": "scram-sha-256",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_destination": "stderr",
    # No value in the server's log (OWASP ASVS 5 16.2.5): an error's message, detail,
    # statement and parameters may all quote one. The service logs SQLSTATE and
    # constraint names itself; here only the server's own life is kept.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}


def initialise(binaries: Binaries, account: Account | None, data: Path, password: str) -> None:
    """Create the cluster ``data`` (initdb), complete or not at all.

    ``password`` is the superuser's; it goes through a pipe, never to disk or into an
    argument list. Raises :class:`ConfigurationError` with initdb's last line.
    """
    draft = data.with_suffix(".new")
    _remove_tree(draft)
    draft.mkdir(mode=0o700)
    reader, writer = os.pipe()
    try:
        if account is not None:
            os.chown(draft, account.uid, account.gid)
            os.fchown(reader, account.uid, account.gid)
        os.write(writer, password.encode() + b"\n")
        os.close(writer)
        with _reach(draft, account) as (folder, descriptors):
            result = subprocess.run(  # nosec B603
                [
                    binaries.bindir / "initdb",
                    f"--pgdata={folder}",
                    f"--username={SUPERUSER}",
                    "--auth-host=scram-sha-256",
                    "--auth-local=reject",
                    "--pwfile=/dev/stdin",
                    "--data-checksums",
                    "--encoding=UTF8",
                    "--locale=C",
                ],
                stdin=reader,
                capture_output=True,
                check=False,
                cwd="/",
                encoding="utf-8",
                env=ENVIRONMENT,
                pass_fds=descriptors,
                **Account.switch(account),
            )
    finally:
        os.close(reader)
    if result.returncode != 0:
        _remove_tree(draft)
        lines = result.stderr.strip().splitlines() or ["no message"]
        raise ConfigurationError(f"PostgreSQL could not set up its data folder: {lines[-1]}")
    draft.rename(data)
    sync_folder(data.parent)


def launch(
    binaries: Binaries,
    account: Account | None,
    data: Path,
    log: Path,
    settings: Mapping[str, str],
) -> subprocess.Popen[bytes]:
    """Start the postmaster over ``data``, which has none, with ``settings`` beside the
    fixed ones; its messages are appended to ``log``.

    A pid file of a server that was killed is removed: PostgreSQL sees through it, save
    where its number went to another program since, over which it would refuse to start.
    """
    (data / "postmaster.pid").unlink(missing_ok=True)
    arguments = [
        f"--{name.replace('_', '-')}={value}" for name, value in {**_SETTINGS, **settings}.items()
    ]
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        with _reach(data, account) as (folder, descriptors):
            return subprocess.Popen(  # nosec B603
                [binaries.bindir / "postgres", "-D", folder, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                cwd="/",
                env=ENVIRONMENT,
                pass_fds=descriptors,
                start_new_session=True,
                **Account.switch(account),
            )
    finally:
        os.close(descriptor)


def running(data: Path) -> int | None:
    """The process id of the postmaster that serves ``data``, ``None`` where none does.

    A pid file that outlived its server does not count, nor does one whose number went
    to another program since.
    """
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None
    return pid if pid > 1 and _alive(pid) and _serves(pid, data) else None


def ready(data: Path) -> bool:
    """Whether the postmaster of ``data`` says that it takes connections."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready"


def stop(data: Path, child: subprocess.Popen[bytes] | None) -> None:
    """Stop the postmaster of ``data``: connections are closed, a checkpoint is written.

    ``child`` is its handle where this process started it. One that does not stop within
    a minute is stopped at once; the next start then recovers from the WAL.
    """
    for number in (signal.SIGINT, signal.SIGQUIT):
        pid = running(data)
        if pid is None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < deadline:
            if child is not None:
                child.poll()
            if not _alive(pid):
                break
            time.sleep(POLL_SECONDS)
    if child is not None:
        child.wait()


@contextlib.contextmanager
def _reach(folder: Path, account: Account | None) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A path by which ``account`` reaches ``folder``, and the descriptors it needs.

    The folders above a root user's home are often closed to everyone else. Through a
    descriptor that the children inherit, ``/proc/self/fd/<n>`` leads straight to the
    folder without passing them, so that no mode has to be changed anywhere.
    """
    if account is None:
        yield str(folder), ()
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield f"/proc/self/fd/{descriptor}", (descriptor,)
    finally:
        os.close(descriptor)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _serves(pid: int, data: Path) -> bool:
    """Whether the process is a server over ``data``: a postmaster works inside its data
    folder. Checked before any signal, since the pid file is not root's to trust."""
    if (_PROCESSES / "self").exists():
        try:
            return (_PROCESSES / str(pid) / "cwd").samefile(data)
        except OSError:
            return False
    result = subprocess.run(  # nosec B603
        ["/bin/ps", "-o", "comm=", "-p", str(pid)],
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    return result.stdout.strip().endswith("postgres")


def _remove_tree(folder: Path) -> None:
    """Remove what an interrupted initdb left."""
    if folder.exists():
        shutil.rmtree(folder)
