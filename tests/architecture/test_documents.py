"""Documents: no dead link, no command or file that is not there, no table that is out of date."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest
from typer.main import get_command

from bench import capacity
from tests.architecture import documents
from tests.architecture.documents import ROOT
from tests.infrastructure.network.flows import declared
from vault_service.cli.app import app

DOCS: Final = ROOT / "docs"
PCI: Final = DOCS / "pci-dss.md"
GDPR: Final = DOCS / "gdpr.md"
DATA_FLOW: Final = DOCS / "data-flow.md"
DEPLOY: Final = DOCS / "deploy.md"
RUNBOOKS: Final = sorted((DOCS / "runbooks").glob("*.md"))
RUNBOOK_PARTS: Final = [
    "Signs",
    "The first five minutes",
    "Then",
    "Over when",
    "Evidence to keep",
]


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", documents.texts(), ids=shown)
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in documents.links(path):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        leads_to = (path.parent / target).resolve() if target else path
        assert leads_to.exists(), link
        assert leads_to.is_relative_to(ROOT), link
        if anchor:
            assert anchor in documents.anchors(leads_to), link


@pytest.mark.parametrize("path", documents.texts(), ids=shown)
def test_every_command_is_one(path: Path) -> None:
    """Each ``strongroom`` command in code, with its options, is one of the command line's."""
    for words in documents.commands(path):
        command: Any = get_command(app)
        context = command.make_context("strongroom", [], resilient_parsing=True)
        rest = list(words)
        while hasattr(command, "list_commands") and rest and re.fullmatch(r"[a-z-]+", rest[0]):
            found = command.get_command(context, rest[0])
            assert found is not None, " ".join(words)
            command, rest = found, rest[1:]
        options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
        used = {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert used <= options | {"--help"}, " ".join(words)


@pytest.mark.parametrize("path", [DEPLOY, *RUNBOOKS], ids=shown)
def test_modules_outputs_and_alarms_that_are_named_are_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for module in re.findall(r"python -m ([\w.]+)", text):
        assert find_spec(module) is not None, module
    outputs = (ROOT / "infra/terraform/examples/production/outputs.tf").read_text(encoding="utf-8")
    for name in re.findall(r"terraform output (?:-\w+ )*(\w+)", text):
        assert f'output "{name}"' in outputs, name
    alarms = "".join(
        each.read_text(encoding="utf-8")
        for each in (ROOT / "infra/terraform/modules/monitoring").glob("*.tf")
    )
    for name in re.findall(r"alarm `([\w-]+)`", text):
        assert re.search(rf"\b{name.replace('-', '_')}\b", alarms) or f"-{name}" in alarms, name


def test_there_is_a_runbook_for_each_bad_day() -> None:
    assert {path.stem for path in RUNBOOKS} == {
        "README",
        *("audit-alarm", "credential-rotation", "database-failover", "key-compromise"),
        *("kms-outage", "pan-in-the-warehouse", "restore"),
    }


@pytest.mark.parametrize("path", [p for p in RUNBOOKS if p.stem != "README"], ids=shown)
def test_a_runbook_has_all_its_parts(path: Path) -> None:
    headings = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == RUNBOOK_PARTS


def test_every_requirement_that_code_cites_is_in_the_table() -> None:
    """Itself, or for a heading of the standard (10.2) what stands below it."""
    listed = {row[0] for row in documents.rows(PCI, 5)}
    headings = {number.rsplit(".", 1)[0] for number in listed}
    assert documents.pci_marks().keys() - listed - headings == set()


def test_code_that_the_table_names_cites_the_requirement() -> None:
    """At one of the files at least: the others may only help."""
    marks = documents.pci_marks()
    for number, _, code, _, _ in documents.rows(PCI, 5):
        named = documents.quoted(code)
        if named:
            citing = marks.get(number, set())
            assert any(file.startswith(each) for each in named for file in citing), number


@pytest.mark.parametrize("path", [PCI, GDPR], ids=shown)
def test_files_and_tests_of_the_tables_are_there(path: Path) -> None:
    names = [
        name
        for row in documents.rows(path, 5)
        for cell in row[2:4]
        for name in documents.quoted(cell)
    ]
    assert names
    for name in names:
        file, _, test = name.partition("::")
        assert (ROOT / file).exists(), name
        if test:
            text = (ROOT / file).read_text(encoding="utf-8")
            assert re.search(rf"^\s*(?:async )?def {test}\(", text, re.MULTILINE), name


def test_no_requirement_is_listed_twice() -> None:
    listed = [row[0] for row in documents.rows(PCI, 5)]
    assert sorted(set(listed)) == sorted(listed)


def test_the_flows_are_those_of_the_security_groups() -> None:
    """The table and the diagram of docs/data-flow.md name each declared flow, and no other."""
    flows = {
        name: (flow.source, flow.destination, f"{flow.protocol} {flow.port}")
        for name, flow in declared().flows.items()
    }
    table = {row[0].strip("`"): (row[1], row[2], row[3]) for row in documents.rows(DATA_FLOW, 5)}
    assert table == flows
    diagram = re.findall(
        r"^ +(\w+) -->\|(\w+ \d+)\| (\w+)$", DATA_FLOW.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert {(source, to, port) for source, port, to in diagram} == set(flows.values())


def test_the_capacity_sheet_is_computed_from_what_was_measured() -> None:
    """`python -m bench.capacity` mends it."""
    sheet = capacity.CAPACITY.read_text(encoding="utf-8")
    benchmarks = capacity.BENCHMARKS.read_text(encoding="utf-8")
    assert capacity.computed(sheet, benchmarks) == sheet
