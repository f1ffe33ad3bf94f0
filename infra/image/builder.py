"""Makes the image's file tree by the Dockerfile's own steps, without a Docker engine.

Each stage is a plain folder. ``COPY`` copies, ``RUN`` runs its program with the folder as root
and without a network, and the last stage's folder is the image. Where a stage begins from an
image of a registry, this machine stands in for it: its ``/usr`` and its Python, read-only. So
what is tested is the recipe, and the image's own tree, which begins from nothing.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from infra.image.recipe import Instruction, Recipe, RecipeError, Stage
from infra.image.room import Room

EMPTY: Final = "scratch"
_WHEELS: Final = "/wheels"
_PROGRAMS: Final = "/usr/local/bin"
_SHOWN_FILES: Final = ("/etc/ld.so.cache", "/etc/nsswitch.conf", "/etc/ssl")
_FOLDERS: Final = ("bin", "lib", "lib64", "sbin")
_SECONDS: Final = 600.0


class BuildError(RuntimeError):
    """A step of the recipe failed; the text has what it printed."""


@dataclass
class Built:
    """A stage that has been built: its folder, and what its instructions set."""

    root: Path
    stage: Stage
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    shown: dict[str, Path] = field(default_factory=dict)

    @property
    def user(self) -> int:
        """The number of the user that the image runs as."""
        user = self.stage.last("USER")
        return int(user.text.partition(":")[0]) if user else 0

    def program(self, *arguments: str) -> list[str]:
        """The entry point with these arguments, or with the image's own."""
        entry, command = self.stage.last("ENTRYPOINT"), self.stage.last("CMD")
        own = command.program if command else []
        return [*(entry.program if entry else []), *(arguments or own)]


def fetch(locks: Path, folder: Path) -> None:
    """Download what a lock names, hash by hash: the one step that needs a network."""
    command = [
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download"),
        *("--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"),
        *("--dest", str(folder), "--requirement", str(locks)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"pip download failed:\n{done.stderr}")


def build(recipe: Recipe, context: Path, wheels: Path, folder: Path) -> Built:
    """Build every stage of the recipe into ``folder``; gives the last one.

    Raises :class:`BuildError` where a step fails, and
    :class:`~infra.image.room.NoRoom` where this machine cannot run one.
    """
    stages: dict[str, Built] = {}
    built: Built | None = None
    for number, stage in enumerate(recipe.stages):
        root = folder / f"stage-{number}"
        root.mkdir(mode=0o755)
        built = Built(root, stage)
        if stage.base != EMPTY:
            _stand_in(built, wheels)
        for instruction in stage.instructions:
            _follow(instruction, built, context, stages)
        stages[stage.name or str(number)] = built
    if built is None:
        raise BuildError("the recipe has no stage")
    return built


def _follow(
    instruction: Instruction, built: Built, context: Path, stages: Mapping[str, Built]
) -> None:
    match instruction.name:
        case "COPY":
            stage, sources, target = instruction.copied
            if stage is None:
                _copy(context, _allowed(context, sources), built, target)
            else:
                _copy(stages[stage].root, sources, built, target)
        case "RUN":
            _run(instruction.program, built)
        case "ENV":
            built.environment |= instruction.pairs
        case "WORKDIR":
            built.folder = instruction.text
            (built.root / built.folder.lstrip("/")).mkdir(parents=True, exist_ok=True)


def _stand_in(built: Built, wheels: Path) -> None:
    """This machine's system and Python, in the place of a base image's."""
    for name in _FOLDERS:
        path = Path("/") / name
        if path.is_symlink():
            (built.root / name).symlink_to(path.readlink())
    built.shown["/usr"] = Path("/usr")
    interpreter = Path(sys.executable).resolve()
    prefix = Path(sys.base_prefix)
    if not prefix.is_relative_to("/usr"):
        built.shown[str(prefix)] = prefix
    built.shown |= {name: Path(name) for name in _SHOWN_FILES if Path(name).exists()}
    built.shown[_WHEELS] = wheels
    python = built.root / "python"
    python.mkdir()
    for name in ("python", "python3"):
        (python / name).symlink_to(interpreter)
    built.environment |= {
        "PATH": f"/python:{_PROGRAMS}:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PIP_FIND_LINKS": _WHEELS,
        "PIP_NO_INDEX": "1",
    }


def _run(program: Sequence[str], built: Built) -> None:
    room = Room(built.root, built.shown)
    command = room.command(program, built.environment, built.folder)
    done = subprocess.run(
        command,
        env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"RUN {' '.join(program)} ended with {done.returncode}:\n{done.stderr}")


def _allowed(context: Path, sources: Sequence[str]) -> list[str]:
    """The sources, each of which the context's .dockerignore must let through."""
    rules = [
        line
        for line in (context / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    for source in sources:
        name = source.removeprefix("./")
        let = False
        for rule in rules:
            if fnmatch(name, rule.removeprefix("!")):
                let = rule.startswith("!")
        if not let:
            raise BuildError(f".dockerignore keeps {name} out, and the recipe copies it")
    return list(sources)


def _copy(origin: Path, sources: Sequence[str], built: Built, target: str) -> None:
    place = built.root / os.path.normpath(f"{built.folder}/{target}").lstrip("/")
    into = target.endswith(("/", ".")) or len(sources) > 1
    for source in sources:
        path = origin / source.lstrip("/").removeprefix("./")
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, place, symlinks=True, dirs_exist_ok=True, ignore=ignored)
        elif path.is_file():
            place.mkdir(parents=True, exist_ok=True) if into else None
            shutil.copy2(path, place / path.name if into else place)
        else:
            raise RecipeError(f"COPY {source}: there is none")
