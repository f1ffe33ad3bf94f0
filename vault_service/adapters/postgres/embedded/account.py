"""Which operating-system account the embedded server runs under.

PostgreSQL refuses to run as root. A root user's server therefore runs under an
unprivileged account that exists already; no account is ever created.
"""

import os
import pwd
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from vault_service.domain.errors import ConfigurationError

_UNPRIVILEGED: Final = ("postgres", "nobody")


class Switch(TypedDict, total=False):
    """The arguments of :mod:`subprocess` that start a program under an account."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Account:
    """A user and group id to switch to."""

    uid: int
    gid: int

    @staticmethod
    def switch(account: "Account | None") -> Switch:
        """What to pass to :mod:`subprocess`; nothing for ``None`` (stay who we are).

        The ids are set in the child before it executes the program, without
        supplementary groups, so every capability of root is gone when it runs.
        """
        if account is None:
            return {}
        return {"user": account.uid, "group": account.gid, "extra_groups": []}


def server_account(data: Path) -> Account | None:
    """The account for the server whose data folder is ``data``; ``None``: our own.

    Existing data stays with its owner. Raises :class:`ConfigurationError` where no
    account will do.
    """
    owner = _owner(data)
    if os.geteuid() != 0:
        if owner is not None and owner.uid != os.geteuid():
            raise ConfigurationError(
                f"{data} belongs to another user. Run as that user, or choose another "
                "STRONGROOM_HOME."
            )
        return None
    if not sys.platform.startswith("linux"):
        raise ConfigurationError(
            "PostgreSQL does not run as root. Run as an ordinary user, or set "
            "STRONGROOM_DATABASE_URL to a running server."
        )
    if owner is not None:
        if owner.uid == 0:
            raise ConfigurationError(
                f"{data} belongs to root, under which PostgreSQL does not run. Give it to an "
                "unprivileged user (chown -R), or choose another STRONGROOM_HOME."
            )
        return owner
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise ConfigurationError(
        "PostgreSQL does not run as root, and there is no account 'postgres' or 'nobody' to "
        "run it under. Run as an ordinary user, or set STRONGROOM_DATABASE_URL."
    )


def _owner(data: Path) -> Account | None:
    try:
        status = os.lstat(data)
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigurationError(f"{data} is not a folder. Choose another STRONGROOM_HOME.")
    return Account(status.st_uid, status.st_gid)
