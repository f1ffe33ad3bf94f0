"""The Dockerfile: hadolint, and what our recipe promises besides."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from infra.checks.commands import ROOT, run, tool
from infra.checks.findings import CannotCheck, Finding, Outcome
from infra.image import recipe

FILE: Final = ROOT / "Dockerfile"
CONFIGURATION: Final = Path(__file__).with_name("hadolint.yaml")
_SHELLS: Final = frozenset({"sh", "bash", "dash", "ash", "-c"})
_LEAST_USER: Final = 1000


def check(path: Path = FILE) -> Outcome:
    """hadolint's findings and our own."""
    done = run([tool("hadolint"), "--config", CONFIGURATION, "--format", "json", path])
    try:
        said = json.loads(done.stdout)
    except ValueError:
        raise CannotCheck(f"hadolint printed no report:\n{done.stdout}{done.stderr}") from None
    findings = [
        Finding(each["code"], f"{path.name}:{each['line']}", each["message"]) for each in said
    ]
    try:
        findings += own(recipe.read(path))
    except recipe.RecipeError as error:
        findings.append(Finding("recipe-is-plain", path.name, str(error)))
    return Outcome("hadolint and the recipe's promises", findings)


def own(read: recipe.Recipe) -> Iterator[Finding]:
    """What the recipe promises, where it breaks it."""
    image = read.image
    if image.base != "scratch":
        yield Finding("begins-from-nothing", image.base, "brings a shell; begin FROM scratch")
    if len(read.stages) < 2 or image.every("RUN"):
        yield Finding("installs-elsewhere", "last stage", "runs something; do it in a build stage")
    for stage in read.stages:
        for each in stage.every("RUN"):
            words = each.program
            if "install" in words and not {"--no-deps"} <= set(words):
                yield Finding("pinned-by-hash", each.text, "takes what nobody locked; --no-deps")
            if "install" in words and not ({"--require-hashes", "."} & set(words)):
                yield Finding("pinned-by-hash", each.text, "takes any file; --require-hashes")
    for name in ("ENTRYPOINT", "CMD", "HEALTHCHECK"):
        instruction = image.last(name)
        if instruction is None:
            yield Finding("starts-and-is-watched", name, "is missing")
        elif _SHELLS & {Path(word).name for word in instruction.program}:
            yield Finding("needs-no-shell", name, "goes through a shell; name the program")
    user = image.last("USER")
    numbers = user.text.split(":") if user else []
    if len(numbers) != 2 or not all(
        each.isdigit() and int(each) >= _LEAST_USER for each in numbers
    ):
        yield Finding("runs-unprivileged", "USER", "is not two numbers from 1000; 65532:65532")
    environment = {name: value for each in image.every("ENV") for name, value in each.pairs.items()}
    if environment.get("STRONGROOM_ENV") != "prod":
        yield Finding("is-safe-by-default", "STRONGROOM_ENV", "is not prod; set it in the image")
    if environment.get("PYTHONDONTWRITEBYTECODE") != "1":
        yield Finding(
            "writes-nothing", "PYTHONDONTWRITEBYTECODE", "is not 1; its root is read-only"
        )
