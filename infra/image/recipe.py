"""The Dockerfile, read strictly: what is not understood here is refused, not skipped.

Of https://docs.docker.com/reference/dockerfile/ this takes what our recipe uses. Programs are
named in JSON, since the image has no shell.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

NAMES: Final = frozenset({
    "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "RUN", "STOPSIGNAL",
    "USER", "WORKDIR",
})  # fmt: skip
_PROGRAMS: Final = frozenset({"CMD", "ENTRYPOINT", "HEALTHCHECK", "RUN"})
_PAIR: Final = re.compile(r"([\w.]+)=(?:\"([^\"]*)\"|(\S*))")


class RecipeError(ValueError):
    """The Dockerfile holds something that this reader does not know."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its name and what stands behind it, on one line."""

    name: str
    text: str

    @property
    def program(self) -> list[str]:
        """The program and its arguments, of an instruction that names one."""
        words = json.loads(self.text[self.text.index("[") :])
        if not words or not all(isinstance(word, str) for word in words):
            raise RecipeError(f"{self.name} names no program: {self.text}")
        return [str(word) for word in words]

    @property
    def pairs(self) -> dict[str, str]:
        """Names and values, of ``ENV`` and ``LABEL``."""
        return {name: quoted or plain for name, quoted, plain in _PAIR.findall(self.text)}

    @property
    def copied(self) -> tuple[str | None, list[str], str]:
        """The stage (``None``: the context), what is copied, and where to, of ``COPY``."""
        words = self.text.split()
        stage = None
        if words[0].startswith("--from="):
            stage = words.pop(0).removeprefix("--from=")
        if any(word.startswith("--") for word in words):
            raise RecipeError(f"COPY has an option that is not known: {self.text}")
        return stage, words[:-1], words[-1]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: the image that it begins from, its name, its instructions."""

    base: str
    name: str | None
    instructions: tuple[Instruction, ...]

    def last(self, name: str) -> Instruction | None:
        """The instruction that counts, of those that replace each other."""
        return next((each for each in reversed(self.instructions) if each.name == name), None)

    def every(self, name: str) -> list[Instruction]:
        """All instructions of a name."""
        return [each for each in self.instructions if each.name == name]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A Dockerfile, by stages; the last makes the image."""

    stages: tuple[Stage, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def image(self) -> Stage:
        return self.stages[-1]

    def uninstalled(self) -> set[str]:
        """The packages that the recipe takes away again."""
        runs = [each.program for stage in self.stages for each in stage.every("RUN")]
        return {
            word
            for words in runs
            if "uninstall" in words
            for word in words[words.index("uninstall") + 1 :]
            if not word.startswith("-")
        }


def read(path: Path) -> Recipe:
    """The recipe in a file; :class:`RecipeError` where it holds what is not understood."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    lines = [line.strip() for line in re.sub(r"\\\n\s*", " ", text).splitlines()]
    stages: list[tuple[str, str | None, list[Instruction]]] = []
    for line in filter(None, lines):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            base, _, alias = rest.partition(" AS ")
            stages.append((base.strip(), alias.strip() or None, []))
            continue
        instruction = Instruction(name, rest.strip())
        if name not in NAMES or not stages:
            raise RecipeError(f"{name} is not known here: {line}")
        if name in _PROGRAMS and not re.search(r"\[.*\]$", rest):
            raise RecipeError(f"{name} needs a shell, which the image has not: {line}")
        stages[-1][2].append(instruction)
    if not stages:
        raise RecipeError(f"{path.name} has no stage")
    return Recipe(tuple(Stage(base, name, tuple(each)) for base, name, each in stages))
