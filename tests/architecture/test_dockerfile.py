"""The container image's recipe keeps what the deployment relies on, and is read strictly."""

from pathlib import Path
from typing import Final

import pytest

from infra.checks import dockerfile
from infra.image import recipe

ROOT: Final = Path(__file__).parents[2]
DOCKERFILE: Final = ROOT / "Dockerfile"


def broken(tmp_path: Path, old: str, new: str) -> set[str]:
    """The promises that a changed recipe breaks."""
    text = DOCKERFILE.read_text()
    assert old in text
    path = tmp_path / "Dockerfile"
    path.write_text(text.replace(old, new))
    return {finding.rule for finding in dockerfile.own(recipe.read(path))}


def test_it_keeps_its_promises() -> None:
    assert list(dockerfile.own(recipe.read(DOCKERFILE))) == []


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        # PCI-DSS 2.2.4: nothing is there that is not needed.
        ("FROM scratch", "FROM python:3.11-slim-bookworm", "begins-from-nothing"),
        ('CMD ["serve"]', 'RUN ["true"]\nCMD ["serve"]', "installs-elsewhere"),
        # PCI-DSS 6.3.2: known third-party components.
        ('"--require-hashes", ', "", "pinned-by-hash"),
        ('"--no-deps", ', "", "pinned-by-hash"),
        ('ENTRYPOINT ["', 'ENTRYPOINT ["sh", "', "needs-no-shell"),
        ('CMD ["serve"]', "", "starts-and-is-watched"),
        # A number, so that an orchestrator can see that it is not root.
        ("USER 65532:65532", "USER strongroom", "runs-unprivileged"),
        ("USER 65532:65532", "USER 0:0", "runs-unprivileged"),
        ("STRONGROOM_ENV=prod", "STRONGROOM_ENV=dev", "is-safe-by-default"),
        ("PYTHONDONTWRITEBYTECODE=1", "PYTHONDONTWRITEBYTECODE=0", "writes-nothing"),
    ],
)
def test_a_broken_promise_is_seen(tmp_path: Path, old: str, new: str, rule: str) -> None:
    assert rule in broken(tmp_path, old, new)


@pytest.mark.parametrize(
    "line",
    [
        "RUN pip install .",
        "CMD serve",
        "ADD https://example.com/x /x",
        "ARG VERSION=1",
        "COPY --chown=1:1 a b",
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(f"FROM scratch\n{line}\n")
    with pytest.raises(recipe.RecipeError):
        [each.copied for each in recipe.read(path).image.every("COPY")]


def test_a_recipe_is_read_as_docker_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(
        'FROM a:1 AS b\nRUN ["x", \\\n  # why\n     "y z"]\nFROM scratch\nENV A=1 \\\n    B="2 3"\n'
        "COPY --from=b /c /d\nCOPY e f ./\n"
    )
    build, image = recipe.read(path).stages
    assert (build.base, build.name) == ("a:1", "b")
    assert build.every("RUN")[0].program == ["x", "y z"]
    assert image.every("ENV")[0].pairs == {"A": "1", "B": "2 3"}
    assert [each.copied for each in image.every("COPY")] == [
        ("b", ["/c"], "/d"),
        (None, ["e", "f"], "./"),
    ]


def test_build_context_is_an_allow_list() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    copies = [
        each.copied for stage in recipe.read(DOCKERFILE).stages for each in stage.every("COPY")
    ]
    copied = {
        source.removeprefix("./") for stage, sources, _ in copies if not stage for source in sources
    }
    assert copied == {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
