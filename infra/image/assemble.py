"""Lays out the image's file tree: what the service runs on, and nothing that it does not need.

Run in the build stage of the Dockerfile, by the image's own Python, with the standard library
alone: ``python assemble.py TARGET``. From what is there it takes the interpreter, the standard
library without its tools and tests, the environment in /opt/strongroom without the commands
of libraries, every shared library that one of those loads, the certificates of authorities,
and a user. No shell, no package manager, no program but Python's and ours (PCI-DSS 2.2.4).
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SERVICE: Final = Path("/opt/strongroom")
COMMANDS: Final = ("python", "python3", "python3.*", "strongroom")
"""Of the environment's commands, those that stay."""
NOT_NEEDED: Final = (
    "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo",
    "turtle.py", "lib2to3", "ensurepip", "venv", "pydoc_data", "distutils", "config-*",
    "__pycache__", "_test*.so", "_ctypes_test*.so", "_xx*.so", "_tkinter*.so", "xxlimited*.so",
    "*.a", "EXTERNALLY-MANAGED",
)  # fmt: skip
"""Of the standard library: what builds, installs, draws, or tests."""
TESTS: Final = "tests"
"""Folders of packages that test them."""
SOURCES: Final = frozenset({
    ".c", ".cc", ".cpp", ".h", ".hpp", ".pxd", ".pyx", ".rs", ".a", ".o", ".la", ".sh", ".exe",
})  # fmt: skip
"""What only a compiler or a shell has a use for."""
LOADED_BY_NAME: Final = ("libgcc_s.so.1",)
"""What glibc opens when it needs it: nothing names it in its header."""
FILES: Final = ("/etc/ld.so.cache", "/etc/nsswitch.conf", "/etc/ssl/certs/ca-certificates.crt")
ZONES: Final = Path("/usr/share/zoneinfo")
USER: Final = "strongroom:x:65532:65532::/nonexistent:/nonexistent\n"
GROUP: Final = "strongroom:x:65532:\n"


def main() -> int:
    """Lay the tree out in the folder that the command line names."""
    target = Path(sys.argv[1])
    target.mkdir(mode=0o755)
    copy_interpreter(target)
    copy_service(target)
    for library in sorted(libraries(target)):
        copy_file(library, target)
    for name in FILES:
        if Path(name).exists():
            copy_file(Path(name), target)
    if ZONES.exists():
        shutil.copytree(ZONES, below(ZONES, target), symlinks=True)
    (target / "etc").mkdir(exist_ok=True)
    (target / "etc/passwd").write_text(USER)
    (target / "etc/group").write_text(GROUP)
    # Readable for the user and for nobody to write; programs alone can be run.
    for path in target.rglob("*"):
        if not path.is_symlink():
            program = path.parent.name == "bin" or path.name.startswith("ld-linux")
            path.chmod(0o755 if path.is_dir() or program else 0o644)
    return 0


def copy_interpreter(target: Path) -> None:
    """The interpreter, the links that lead to it, and its standard library."""
    for path in links(Path(sys.executable)):
        copy_file(path, target)
    standard = Path(sysconfig.get_path("stdlib"))
    ignored = shutil.ignore_patterns(*NOT_NEEDED)
    shutil.copytree(standard, below(standard, target), symlinks=True, ignore=ignored)


def copy_service(target: Path) -> None:
    """The environment with the service, and of its commands those that are ours."""
    copied = below(SERVICE, target)
    shutil.copytree(SERVICE, copied, symlinks=True)
    wanted = {path for pattern in COMMANDS for path in (copied / "bin").glob(pattern)}
    for path in (copied / "bin").iterdir():
        if path not in wanted:
            path.unlink()
    for path in [*copied.glob(f"lib/python3.*/*/*/{TESTS}"), copied / "include"]:
        shutil.rmtree(path, ignore_errors=True)
    for path in copied.rglob("*"):
        if path.suffix in SOURCES:
            path.unlink()


def libraries(target: Path) -> set[Path]:
    """What the loader opens for any program or library of the tree, outside the tree."""
    found: set[Path] = set()
    loader = Path(interpreter_of(Path(sys.executable).resolve()))
    for path in elf_files(target):
        original = Path("/") / path.relative_to(target)
        done = subprocess.run(
            [loader, "--list", original], capture_output=True, text=True, check=False
        )
        for line in done.stdout.splitlines():
            words = line.replace("=>", " ").split()
            places = [Path(word) for word in words if word.startswith("/")]
            found.update(place for place in places if not below(place, target).exists())
    folders = {path.parent for path in found}
    by_name = (folder / name for folder in sorted(folders) for name in LOADED_BY_NAME)
    found.update(path for path in by_name if path.exists())
    return {link for path in found | {loader} for link in links(path)}


def interpreter_of(program: Path) -> str:
    """The loader that an ELF program names (``PT_INTERP``)."""
    head = program.read_bytes()[:4096]
    start = head.index(b"/lib")
    return head[start : head.index(b"\0", start)].decode()


def elf_files(target: Path) -> Iterator[Path]:
    """Programs and shared libraries below a folder."""
    for path in sorted(target.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def links(path: Path) -> list[Path]:
    """The path, and each that its links lead to, the file itself last.

    Folders that are links (``/lib``) are followed and not kept: the loader knows both names.
    """
    found = [path]
    while found[-1].is_symlink():
        found.append(Path(os.path.normpath(found[-1].parent / found[-1].readlink())))
    return found


def copy_file(path: Path, target: Path) -> None:
    """Copy a file, or a link as a link, to the same place below ``target``."""
    copied = below(path, target)
    copied.parent.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(copied):
        shutil.copy2(path, copied, follow_symlinks=False)


def below(path: Path, target: Path) -> Path:
    """Where a path of the root lies below ``target``."""
    return target / path.relative_to("/")


if __name__ == "__main__":
    sys.exit(main())
