"""Builds what Lambda runs: one archive for arm64, from the lock, with nothing compiled here.

``make package`` calls it. Wheels are taken hash by hash for the platform of Lambda, what jobs
never use is left out, every native library is looked at (a foreign one fails only when it is
loaded, in Lambda), and the archive has the same bytes for the same input.
"""

import argparse
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
LOCK: Final = Path(__file__).parent / "requirements.lock"
PYTHON: Final = "3.13"
PLATFORMS: Final = ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
AARCH64: Final = 183
"""``EM_AARCH64``: the machine type in an ELF header."""
LARGEST_BYTES: Final = 250 * 1024 * 1024
"""What Lambda takes, unpacked."""
OWN: Final = (
    "reporting_jobs",
    "vault_service/client",
    "vault_service/domain",
    "vault_service/verifier",
)
OWN_MODULES: Final = ("vault_service/__init__.py", "vault_service/memory.py")
UNUSED: Final = (
    "bin",
    "**/__pycache__",
    "**/tests",
    "**/*.pyi",
    "**/*.pyx",
    "**/*.pxd",
    # Arrow's servers, other clouds and headers; the second spelling of a library's name.
    "pyarrow/include",
    "pyarrow/includes",
    "pyarrow/src",
    "pyarrow/*flight*",
    "pyarrow/_s3fs*",
    "pyarrow/_azurefs*",
    "pyarrow/_gcsfs*",
    "pyarrow/_pyarrow_cpp_tests*",
    "pyarrow/libarrow_s3*",
    "pyarrow/libarrow_python*.so",
    "pyarrow/libarrow_python*.so.*.*.*",
    # Where numbers are from; whether they are valid is elsewhere.
    "phonenumbers/carrierdata",
    "phonenumbers/geodata",
)
AWS_SERVICES: Final = frozenset({"kms", "s3", "sts"})
"""Of botocore's 400 descriptions of services, those that jobs speak to."""
_DATE: Final = (1980, 1, 1, 0, 0, 0)


def install(target: Path) -> None:
    """Unpack the locked wheels for Lambda's platform into ``target``."""
    command = [
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install"),
        *("--quiet", "--no-deps", "--require-hashes", "--no-compile", "--only-binary=:all:"),
        *("--implementation", "cp", "--python-version", PYTHON, "--target", str(target)),
        *(argument for platform in PLATFORMS for argument in ("--platform", platform)),
        *("--requirement", str(LOCK)),
    ]
    subprocess.run(command, check=True)


def add_own(target: Path) -> None:
    """Copy what of this repository jobs run on."""
    package = target / "vault_service"
    package.mkdir(parents=True)
    for module in OWN_MODULES:
        shutil.copy(ROOT / module, package)
    for name in OWN:
        shutil.copytree(
            ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )


def trim(target: Path) -> None:
    """Take away what jobs never use."""
    unused = [path for pattern in UNUSED for path in target.glob(pattern)]
    data = target / "botocore" / "data"
    unused += [path for path in data.iterdir() if path.is_dir() and path.name not in AWS_SERVICES]
    for path in unused:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def foreign(target: Path) -> Iterator[Path]:
    """Native libraries that are not for arm64."""
    for path in files(target):
        with path.open("rb") as file:
            head = file.read(20)
        if head[:4] == b"\x7fELF":
            if int.from_bytes(head[18:20], "little") != AARCH64:
                yield path
        elif ".so" in path.suffixes or path.suffix in (".dylib", ".pyd", ".dll"):
            yield path


def files(target: Path) -> list[Path]:
    """Every file, in a fixed order."""
    return sorted(path for path in target.rglob("*") if path.is_file())


def archive(target: Path, path: Path) -> None:
    """Write the archive: sorted, without times, with the same bytes each time."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as packed:
        for file in files(target):
            entry = zipfile.ZipInfo(file.relative_to(target).as_posix(), _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, file.read_bytes())


def main() -> int:
    """Build ``reports.zip`` in the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    target = folder / "reports"
    shutil.rmtree(folder, ignore_errors=True)
    target.mkdir(parents=True)
    install(target)
    trim(target)
    add_own(target)
    wrong = list(foreign(target))
    if wrong:
        print("Not for arm64:", *wrong, sep="\n  ", file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in files(target))
    print(f"unpacked {size / 2**20:.1f} MiB of at most {LARGEST_BYTES / 2**20:.0f}")
    if size >= LARGEST_BYTES:
        return 1
    path = folder / "reports.zip"
    archive(target, path)
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
