"""The embedded default: a real PostgreSQL of our own in ``STRONGROOM_HOME``.

The home holds ``postgres/`` (the data), ``postgres.json`` (port and passwords, mode
0600), ``postgres.log`` and ``lock``. Whoever holds the lock owns the server: starts it,
or adopts it where an owner before was killed, and stops it in the end. Others may
attach to a server that is owned. It listens on 127.0.0.1 alone, and every connection
needs a scram-sha-256 password (RFC 7677). Production refuses it.
"""

import atexit
import contextlib
import os
import subprocess  # nosec B404 - the type of the server's handle
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psycopg

from vault_service.adapters.postgres.embedded import process, roles
from vault_service.adapters.postgres.embedded.account import Account, server_account
from vault_service.adapters.postgres.embedded.binaries import Binaries, find_binaries, remove_copy
from vault_service.adapters.postgres.embedded.lock import HomeInUse, take_lock
from vault_service.adapters.postgres.embedded.signals import termination_as_exit
from vault_service.adapters.postgres.embedded.state import (
    APP,
    DATABASE,
    MIGRATOR,
    SUPERUSER,
    State,
    free_port,
    port_is_free,
)
from vault_service.domain.errors import ConfigurationError

__all__ = ["EmbeddedPostgres", "HomeInUse"]

DEFAULT_SHARED_BUFFERS: Final = "256MB"
_READY_SECONDS: Final = 300.0  # recovery after a crash replays up to max_wal_size
_LAUNCHES: Final = 40
_REFUSALS: Final = 4
_PAUSE_SECONDS: Final = 0.25
_ATTACH_SECONDS: Final = 60.0


class EmbeddedPostgres:
    """A running embedded server; a context manager that stops it if it owns it. Its URLs
    are ``postgresql://`` URLs with the password inside."""

    def __init__(self, home: Path, state: State) -> None:
        self.home = home
        self._state = state
        self._lock: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._start: tuple[Binaries, Account | None, str] | None = None
        self._owner_pid = os.getpid()
        self._termination = contextlib.ExitStack()

    def __repr__(self) -> str:
        return f"EmbeddedPostgres(home={str(self.home)!r}, port={self._state.port})"

    @property
    def app_url(self) -> str:
        """URL of the service's login role."""
        return self._state.url(APP)

    @property
    def migrator_url(self) -> str:
        """URL of the role that owns the database and runs migrations."""
        return self._state.url(MIGRATOR)

    @property
    def superuser_url(self) -> str:
        """URL of the superuser."""
        return self._state.url(SUPERUSER)

    @classmethod
    def own(
        cls,
        home: Path,
        *,
        bindir: Path | None = None,
        shared_buffers: str = DEFAULT_SHARED_BUFFERS,
    ) -> Self:
        """Own the server of ``home``: set it up, start or adopt it, as is needed.

        ``bindir``: PostgreSQL's programs (``STRONGROOM_PG_BINDIR``), ``None`` to search.
        Raises :class:`HomeInUse` where another process owns it and
        :class:`ConfigurationError`, which says how to mend it, where it cannot start.
        """
        home = home.absolute()
        lock = take_lock(home)
        try:
            data = home / "postgres"
            account = server_account(data)
            server = cls(home, State.of(home / "postgres.json", data))
            server._prepare(bindir, account, shared_buffers)
        except BaseException:
            os.close(lock)
            raise
        server._lock = lock
        atexit.register(server.stop)
        try:
            server._run()
        except BaseException:
            server.stop()
            raise
        return server

    @classmethod
    def attach(cls, home: Path) -> Self | None:
        """The server of ``home`` that some process runs, ``None`` where none runs.

        Raises :class:`ConfigurationError` where this user may not read the home.
        """
        home = home.absolute()
        state = State.load(home / "postgres.json")
        if state is None or not _answers(state):
            return None
        return cls(home, state)

    @classmethod
    @contextlib.contextmanager
    def use(cls, home: Path, *, bindir: Path | None = None) -> Iterator[Self]:
        """The server of ``home``, for a command: the owner's where there is one, else
        owned until the block ends. Waits up to a minute for an owner who is starting."""
        deadline = time.monotonic() + _ATTACH_SECONDS
        while True:
            try:
                server = cls.own(home, bindir=bindir)
            except HomeInUse:
                attached = cls.attach(home)
                if attached is not None:
                    yield attached
                    return
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_SECONDS)
                continue
            with server:
                yield server
            return

    def ensure_running(self) -> None:
        """Start the server again if it was killed; the owner alone may call this."""
        if self._lock is None:
            raise ValueError("only the owner of an embedded server can start it")
        self._run()

    def stop(self) -> None:
        """Stop the server and give up the home. Does nothing on an attached server, in a
        forked child, or the second time."""
        if self._lock is None or self._owner_pid != os.getpid():
            return
        atexit.unregister(self.stop)
        try:
            process.stop(self.home / "postgres", self._child)
            if self._state.binaries_copy is not None:
                remove_copy(Path(self._state.binaries_copy))
                self._save(replace(self._state, binaries_copy=None))
        finally:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        """Until the block ends, a SIGTERM to the owner stops the server too."""
        if self._lock is not None:
            self._termination.enter_context(termination_as_exit())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            self._termination.close()

    def create_database(self, name: str) -> dict[str, str]:
        """Make a further database; its URLs by login role, as the three above."""
        roles.create_database(
            self._state.url(SUPERUSER, "postgres"),
            self._state.url(SUPERUSER, name),
            name,
        )
        return {role: self._state.url(role, name) for role in (APP, MIGRATOR, SUPERUSER)}

    def drop_database(self, name: str) -> None:
        """Drop a database made by :meth:`create_database`."""
        roles.drop_database(self._state.url(SUPERUSER, "postgres"), name)

    def _save(self, state: State) -> None:
        state.save(self.home / "postgres.json")
        self._state = state

    def _prepare(self, bindir: Path | None, account: Account | None, shared_buffers: str) -> None:
        """Find the programs and, for a new home, make the cluster."""
        data = self.home / "postgres"
        copied = self._state.binaries_copy
        binaries = find_binaries(
            bindir, account, _major(data), None if copied is None else Path(copied)
        )
        if binaries.copied is not None:
            self._save(replace(self._state, binaries_copy=str(binaries.copied)))
        if not data.exists():
            process.initialise(binaries, account, data, self._state.passwords[SUPERUSER])
        self._start = (binaries, account, shared_buffers)

    def _run(self) -> None:
        """Have a postmaster that answers, and the roles and the database in it."""
        data = self.home / "postgres"
        refusals = 0
        for _ in range(_LAUNCHES):
            if process.running(data) is None:
                self._launch(data)
            if self._wait():
                if _answers(self._state):
                    break
                # It may have been killed just now, or have all its connections in use.
                refusals += process.running(data) is not None
                if refusals == _REFUSALS:
                    raise ConfigurationError(
                        f"The embedded PostgreSQL does not accept the password in "
                        f"{self.home / 'postgres.json'}: it belongs to other data."
                    )
            time.sleep(_PAUSE_SECONDS)
        else:
            raise ConfigurationError(
                f"The embedded PostgreSQL does not start; {self.home / 'postgres.log'} says why."
            )
        try:
            roles.set_up_roles(self._state.url(SUPERUSER, "postgres"), self._state.passwords)
            self.create_database(DATABASE)
        except psycopg.Error as error:
            raise ConfigurationError(
                f"The embedded PostgreSQL could not be set up (SQLSTATE {error.sqlstate})."
            ) from None

    def _launch(self, data: Path) -> None:
        if self._start is None:
            raise ValueError("only the owner of an embedded server can start it")
        if self._child is not None:
            self._child.wait()
        binaries, account, shared_buffers = self._start
        if not port_is_free(self._state.port):
            self._save(replace(self._state, port=free_port()))
        self._child = process.launch(
            binaries,
            account,
            data,
            self.home / "postgres.log",
            {"port": str(self._state.port), "shared_buffers": shared_buffers},
        )

    def _wait(self) -> bool:
        """Whether the postmaster became ready; ``False`` where it ended instead (its
        port was taken meanwhile, or processes of one that was killed still linger)."""
        data = self.home / "postgres"
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            pid = process.running(data)
            if self._child is None or self._child.poll() is not None:
                if pid is None:
                    return False
                if process.ready(data):
                    return True
            elif pid == self._child.pid and process.ready(data):
                return True
            time.sleep(process.POLL_SECONDS)
        return False


def _major(data: Path) -> int | None:
    """The major version of the stored data, ``None`` where there is none."""
    try:
        return int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        raise ConfigurationError(f"{data / 'PG_VERSION'} is damaged.") from None


def _answers(state: State) -> bool:
    try:
        roles.connect(state.url(SUPERUSER, "postgres")).close()
    except psycopg.OperationalError:
        return False
    return True
