"""What must not be in the image's file tree. PCI-DSS 2.2.4, 6.3.2, 6.5.6."""

import stat
import subprocess
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

from infra.checks.findings import Finding
from infra.checks.packages import canonical
from infra.image.assemble import SOURCES
from infra.image.room import MOUNT_POINTS, Room

PROGRAMS: Final = ("python", "python3", "strongroom")
"""Programs that the image may hold, beside an interpreter by its full name."""
_OUR_OWN: Final = "strongroom"


def look(root: Path, wanted: dict[str, str]) -> list[Finding]:
    """Everything that is wrong in the tree below ``root``.

    ``wanted`` are the packages that it is to hold, with their versions.
    """
    findings = [finding for path in _paths(root) for finding in _at(path, root)]
    return [*findings, *_packages(root, wanted), *_unresolved(root)]


def installed(root: Path) -> dict[str, str]:
    """The packages in the tree, with their versions, our own left out."""
    sites = [str(path) for path in root.rglob("site-packages")]
    found = {canonical(each.name): each.version for each in distributions(path=sites)}
    found.pop(_OUR_OWN, None)
    return found


def _paths(root: Path) -> Iterator[Path]:
    made = {root / name for name in MOUNT_POINTS}
    for path in sorted(root.rglob("*")):
        if not any(path.is_relative_to(each) for each in made):
            yield path


def _at(path: Path, root: Path) -> Iterator[Finding]:
    where = f"/{path.relative_to(root)}"
    status = path.lstat()
    mode = status.st_mode
    if stat.S_ISLNK(mode):
        return
    if mode & (stat.S_ISUID | stat.S_ISGID):
        yield Finding("no-setuid", where, "gives its user the rights of another; take the bit away")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield Finding("not-writable", where, "can be written by others than root; mend its mode")
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        yield Finding("plain-files", where, "is neither a file nor a folder; leave it out")
    if stat.S_ISREG(mode):
        runs = mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        known = path.name in PROGRAMS or path.name.startswith(("python3.", "ld-linux"))
        if runs and not known:
            yield Finding("no-other-program", where, "can be run; leave it out, or its mode")
        if path.suffix in SOURCES:
            yield Finding("nothing-to-compile", where, "has no use without a compiler or a shell")
    elif path.name in ("ensurepip", "test", "tests"):
        yield Finding("no-tests", where, "installs or tests; leave it out")


def _packages(root: Path, wanted: dict[str, str]) -> Iterator[Finding]:
    found = installed(root)
    for name in sorted(found.keys() - wanted.keys()):
        yield Finding("packages-as-locked", name, "is in the image and not in the SBOM")
    for name in sorted(wanted.keys() - found.keys()):
        yield Finding("packages-as-locked", name, "is in the SBOM and not in the image")
    for name in sorted(wanted.keys() & found.keys()):
        if wanted[name] != found[name]:
            what = f"is {found[name]} in the image and {wanted[name]} in the SBOM"
            yield Finding("packages-as-locked", name, what)


def _unresolved(root: Path) -> Iterator[Finding]:
    """Libraries that a program or library of the tree needs and the tree lacks."""
    loaders = sorted(root.glob("lib*/ld-linux-*"))
    if not loaders:
        yield Finding("libraries-are-there", "/lib64", "has no loader; no program can start")
        return
    loader = f"/{loaders[0].relative_to(root)}"
    room = Room(root, user=65532)
    for path in sorted(
        [*root.rglob("*.so"), *root.rglob("*.so.*"), *root.glob("**/bin/python3.*")]
    ):
        where = f"/{path.relative_to(root)}"
        if path.is_symlink() or where.startswith("/lib"):
            continue
        command = room.command([loader, "--list", where], {})
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        for line in (done.stdout + done.stderr).splitlines():
            if "not found" in line or "cannot open" in line:
                yield Finding("libraries-are-there", where, line.strip())
