"""The lock of a home: one process owns its embedded server at a time."""

import fcntl
import os
from pathlib import Path

from vault_service.domain.errors import ConfigurationError


class HomeInUse(ConfigurationError):
    """Another process owns the embedded server of this home."""


def take_lock(home: Path) -> int:
    """Hold the home's lock; make the home (mode 0700) where it is missing.

    The lock ends when the returned descriptor is closed or this process dies, however
    it dies; the server does not inherit it. Raises :class:`HomeInUse` at once where
    another process holds it, :class:`ConfigurationError` where the home is not usable.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"{home} cannot be used ({os.strerror(error.errno or 0)}). Choose another "
            "STRONGROOM_HOME, or run as the user it belongs to."
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise HomeInUse(
            f"{home} is in use by another Strongroom process. Stop that one, or choose another "
            "STRONGROOM_HOME."
        ) from None
    return descriptor
