"""What the embedded server must remember between starts: its port and passwords.

One JSON file in the home, mode 0600, replaced as a whole so that a crash leaves the
old one or the new one.
"""

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Self

from vault_service.adapters.postgres import roles
from vault_service.domain.errors import ConfigurationError

SUPERUSER: Final = "strongroom_superuser"
MIGRATOR: Final = roles.MIGRATOR.name
APP: Final = roles.SERVICE.name
DATABASE: Final = "strongroom"
_PASSWORD_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class State:
    """Port, passwords by role, and where a public copy of the binaries lies."""

    port: int
    passwords: dict[str, str] = field(repr=False)
    binaries_copy: str | None = None

    @classmethod
    def fresh(cls) -> Self:
        """A free port and new random passwords."""
        roles = (SUPERUSER, MIGRATOR, APP)
        return cls(
            free_port(),
            {role: secrets.token_urlsafe(_PASSWORD_BYTES) for role in roles},
        )

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """The stored state, ``None`` where there is none.

        Raises :class:`ConfigurationError` for a file that cannot be read as one.
        """
        try:
            stored = json.loads(path.read_bytes())
            state = cls(stored["port"], stored["passwords"], stored["binaries_copy"])
        except FileNotFoundError:
            return None
        except OSError:
            raise ConfigurationError(
                f"{path} cannot be read: the home belongs to another user. Run as that user, or "
                "choose another STRONGROOM_HOME."
            ) from None
        except (ValueError, KeyError, TypeError):
            raise ConfigurationError(
                f"{path} is damaged, and the database's passwords with it. Restore it from a "
                "backup, or remove the home to begin anew."
            ) from None
        return state

    @classmethod
    def of(cls, path: Path, data: Path) -> Self:
        """The stored state; a fresh one, now stored, where ``data`` does not exist yet.

        Raises :class:`ConfigurationError` where it is lost or damaged.
        """
        state = cls.load(path)
        if state is not None:
            return state
        if data.exists():
            raise ConfigurationError(
                f"{path} is gone, and the database's passwords with it. Restore it from a backup, "
                "or remove the home to begin anew."
            )
        state = cls.fresh()
        state.save(path)
        return state

    def save(self, path: Path) -> None:
        """Replace the stored state durably."""
        draft = path.with_suffix(".json.new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(self), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(path.parent)

    def url(self, role: str, database: str = DATABASE) -> str:
        """The connection URL of ``role``, password included.

        ``require_auth`` keeps the password from a stranger who took over the port: only
        an exchange that proves that the server knows it too is accepted (RFC 7677).
        """
        return (
            f"postgresql://{role}:{self.passwords[role]}@127.0.0.1:{self.port}/{database}"
            "?sslmode=disable&require_auth=scram-sha-256"
        )


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
