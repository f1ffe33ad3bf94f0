"""The nine definitions: sound, light to load, and granted what they read and nothing more."""

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import reporting_jobs
from reporting_jobs.definitions import definitions, maker
from reporting_jobs.people import CLASSES
from tests.fakes.run_vault import BUNDLE
from vault_service.adapters.cedar import CedarEngine
from vault_service.domain.access import AccessRequest, Action
from vault_service.domain.reports import NAME, NO_VALUE, ParameterType

NAMES = [
    *("access_review", "audit_seal", "audit_verify", "breach_notification", "chargeback_file"),
    *("pci_inventory", "retention_purge", "sanctions_screening", "subject_access"),
]
APPROVED = {
    *("breach_notification", "chargeback_file", "retention_purge", "sanctions_screening"),
    "subject_access",
}
CRON = re.compile(r"cron\(\d+ (\*|\d+) (\*|\?|\d+) (\*|\d+) (\*|\?|[A-Z]{3}) \*\)")
ENGINE = CedarEngine(BUNDLE)


def test_there_are_nine() -> None:
    # All but the tests' own.
    found = {name: each for name, each in definitions().items() if not name.startswith("tiny")}
    assert sorted(found) == sorted(NAMES)
    assert {name for name, each in found.items() if each.needs_approval} == APPROVED


@pytest.mark.parametrize("name", NAMES)
def test_a_definition_is_sound(name: str) -> None:
    definition = definitions()[name]
    assert NAME.fullmatch(name)
    assert callable(maker(name))
    assert definition.purpose in BUNDLE.catalog.purposes
    assert definition.job in BUNDLE.principals
    assert BUNDLE.principals[definition.job].tags["report"] == name
    assert definition.formats
    assert definition.limits.row_cap >= 1
    assert len({column.name for column in definition.columns}) == len(definition.columns)
    for text in (definition.title, definition.description, definition.owner):
        assert text
    assert all(column.description for column in definition.columns)
    assert all(parameter.description for parameter in definition.parameters)
    for reading in definition.reads:
        forms = BUNDLE.catalog.data_class(reading.data_class).forms
        assert reading.form in (*forms, NO_VALUE)
    if definition.schedule is not None:
        assert CRON.fullmatch(definition.schedule)
        # Nobody is there to fill anything in.
        assert not any(each.required for each in definition.parameters)
    for parameter in definition.parameters:
        if parameter.default is not None:
            assert not parameter.required
            assert parameter.type is not ParameterType.CHOICE or (
                parameter.default in parameter.choices
            )


def test_reports_that_miss_nothing_read_the_whole_catalog() -> None:
    assert set(CLASSES) == set(BUNDLE.catalog.data_classes)
    for name in ("retention_purge", "subject_access", "breach_notification"):
        assert definitions()[name].data_classes == set(CLASSES)


@pytest.mark.parametrize("name", NAMES)
def test_its_job_may_see_what_it_declares_in_plain_and_nothing_more(name: str) -> None:
    definition = definitions()[name]
    declared = {each.data_class for each in definition.reads if each.form == "plain"}
    for purpose in BUNDLE.catalog.purposes:
        allowed = {
            each.name
            for each in BUNDLE.catalog.data_classes.values()
            if ENGINE.decide(
                AccessRequest(
                    BUNDLE.principals[definition.job],
                    Action.DETOKENIZE,
                    each.name,
                    each.tags,
                    (),
                    purpose,
                    "plain",
                    1,
                    None,
                    datetime(2026, 1, 5, 12, tzinfo=UTC),
                )
            ).allowed
        }
        assert allowed == (declared if purpose == definition.purpose else set())


def in_a_process(code: str, path: Path | None = None) -> str:
    # A process looks for modules in its folder first.
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=path, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_loading_them_loads_nothing_that_only_making_needs() -> None:
    code = (
        "import sys; from reporting_jobs.definitions import definitions; definitions();"
        " print([m for m in ('rapidfuzz', 'anyascii', 'reportlab', 'pyarrow', 'boto3',"
        " 'aws_encryption_sdk') if m in sys.modules])"
    )
    assert in_a_process(code) == "[]"


def test_the_digest_covers_what_a_report_stands_on(tmp_path: Path) -> None:
    source = Path(next(iter(reporting_jobs.__path__)))
    shutil.copytree(source, tmp_path / "reporting_jobs")
    code = (
        "from reporting_jobs.definitions import definitions as d;"
        " print(*(d()[n].template_hash() for n in ('sanctions_screening', 'chargeback_file')))"
    )
    screening, chargeback = in_a_process(code, tmp_path).split()
    assert screening == definitions()["sanctions_screening"].template_hash()
    with (tmp_path / "reporting_jobs" / "name_forms.py").open("a") as file:
        file.write("\n# changed\n")
    assert in_a_process(code, tmp_path).split()[0] != screening
    assert in_a_process(code, tmp_path).split()[1] == chargeback
