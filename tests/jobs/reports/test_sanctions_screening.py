"""Sanctions screening: how well it finds people, and that no name leaves.

``python -m bench.sanctions_screening`` prints the figures of docs/sanctions-screening.md; the
bounds here are a little below them.
"""

import io
import logging
from collections import Counter
from datetime import date
from functools import cache
from typing import Any

import pytest

from reporting_jobs.birth_dates import agreement
from reporting_jobs.context import ReportRefused
from reporting_jobs.name_forms import fold
from reporting_jobs.name_index import NameIndex
from reporting_jobs.people import PAGES_AHEAD
from reporting_jobs.sanctions_list import ListEntry, read_list
from reporting_jobs.screening import Screening
from tests.fakes.run_vault import FakeRunVault, made, table
from tests.screening_people import Corpus, corpus
from tests.soak import times

HEAD = "entry_id,name,birth_date\n"


@cache
def people() -> Corpus:
    return corpus(times(5_000, 50_000), entries=times(1_500, 4_000), planted=times(100, 300))


def csv_of(entries: tuple[ListEntry, ...]) -> bytes:
    lines = [HEAD]
    for entry in entries:
        born = [day.isoformat() for day in entry.dates] + [str(year) for year in entry.years]
        lines += [f'{entry.id},"{name}",{each}\n' for name in entry.names for each in born or [""]]
    return "".join(lines).encode()


def vault_of(made_up: Corpus) -> FakeRunVault:
    vault = FakeRunVault("sanctions_screening")
    tokens: dict[date, str] = {}
    for person in made_up.people:
        vault.store("person_name", person.name, person.subject)
        # Birth dates are deterministic: one token for all who were born that day.
        if person.born is not None and person.born in tokens:
            stored = vault.stored[tokens[person.born]]
            stored.subjects = (*stored.subjects, person.subject)
        elif person.born is not None:
            tokens[person.born] = vault.store(
                "date_of_birth", person.born.isoformat(), person.subject
            )
    return vault


def test_people_who_are_on_the_list_are_found_and_few_others() -> None:
    found = people()
    screening = Screening(found.entries, 90)
    planted, hit, wrong, namesakes = Counter[str](), Counter[str](), 0, 0
    for person in found.people:
        hits = screening.hits(person.name, () if person.born is None else (person.born,))
        planted[person.kind] += person.entry is not None
        hit[person.kind] += any(entry == person.entry for entry, _ in hits)
        wrong += sum(entry != person.entry for entry, _ in hits)
        namesakes += person.kind == "namesake" and bool(hits)
    recall = {kind: hit[kind] / count for kind, count in planted.items() if count}
    for kind in ("same", "swapped", "no middle name", "cyrillic", "arabic", "greek"):
        assert recall[kind] >= 0.95, kind
    assert recall["typo"] >= 0.85
    assert recall["two typos"] >= 0.6
    assert hit.total() / planted.total() >= 0.92
    assert hit.total() / (hit.total() + wrong) >= 0.85
    assert namesakes <= 0.02 * sum(person.kind == "namesake" for person in found.people)


def test_only_token_subject_score_and_entry_leave(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    found = corpus(1_200, entries=300, planted=20)
    vault = vault_of(found)
    listed = csv_of(tuple(found.entries))
    output = made(vault, inputs={"sanctions_list": lambda: io.BytesIO(listed)})
    rows = table(vault, output)
    assert len(rows) > 100
    assert {tuple(row) for row in rows} == {("token", "subject", "score", "entry")}
    by_token = {token: stored.subjects[0] for token, stored in vault.stored.items()}
    entries = {entry.id for entry in found.entries}
    planted = {(person.subject, person.entry) for person in found.people if person.entry}
    right = 0
    for row in rows:
        assert by_token[row["token"]] == row["subject"]
        assert row["entry"] in entries
        assert 90 <= row["score"] <= 100
        right += (row["subject"], row["entry"]) in planted
    assert right >= 0.9 * len(planted)
    assert vault.reads - {("person_name", "tokens"), ("date_of_birth", "tokens")} == {
        ("person_name", "plain"),
        ("date_of_birth", "plain"),
    }
    screening = Screening(found.entries, 90)
    seen = [*map(str, rows), *map(str, output.sections()), caplog.text, *capfd.readouterr()]
    seen += [repr(each) for each in (*found.entries, screening, vars(screening), fold("Ann Lee"))]
    words = {w for s in vault.stored.values() for w in s.value.split() if len(w) > 4}
    words |= {w for entry in found.entries for name in entry.names for w in name.split()}
    everything = "\n".join(seen)
    assert not {word for word in words if len(word) > 4 and word in everything}
    assert f"{len(rows)} hits" in everything


def test_a_shared_birth_date_counts_for_everyone_who_has_it() -> None:
    vault = FakeRunVault("sanctions_screening")
    vault.store("person_name", "Quentin Ashdown", "cus_1")
    vault.store("person_name", "Quentin Ashdawn", "cus_2")
    vault.store("person_name", "Quentin Ashdown")
    vault.store("date_of_birth", "1961-05-04", "cus_1", "cus_2")
    listed = f"{HEAD}L1,Quentin Ashdown,1961-05-04\n".encode()
    given: dict[str, Any] = {"inputs": {"sanctions_list": lambda: io.BytesIO(listed)}}
    rows = table(vault, made(vault, **given, threshold=75))
    assert [(row["subject"], row["score"]) for row in rows] == [
        ("cus_1", 100.0),
        ("cus_2", 100.0),
        (None, 100.0),
    ]
    other = listed.replace(b"1961-05-04", b"1985-11-30")
    given = {"inputs": {"sanctions_list": lambda: io.BytesIO(other)}}
    assert [row["subject"] for row in table(vault, made(vault, **given))] == [None]


def test_names_are_read_page_by_page() -> None:
    vault = FakeRunVault("sanctions_screening", page=10)
    for number in range(200):
        vault.store("person_name", "Quentin Ashdown", f"cus_{number:03}")
    listed = f"{HEAD}L1,Quentin Ashdown,\n".encode()
    rows = iter(made(vault, inputs={"sanctions_list": lambda: io.BytesIO(listed)}).rows)
    next(rows)
    assert vault.pages == 1 + PAGES_AHEAD  # of 20


def test_an_approval_can_bind_the_list() -> None:
    vault = FakeRunVault("sanctions_screening")
    listed = f"{HEAD}L1,Quentin Ashdown,\n".encode()
    inputs = {"sanctions_list": lambda: io.BytesIO(listed)}
    digest = read_list(io.BytesIO(listed)).sha256
    assert table(vault, made(vault, inputs=inputs, list_sha256=digest)) == []
    with pytest.raises(ReportRefused) as refusal:
        made(vault, inputs=inputs, list_sha256="0" * 64)
    assert refusal.value.code == "input_changed"
    with pytest.raises(ReportRefused) as refusal:
        made(vault)
    assert refusal.value.code == "input_missing"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "id,name\n",
        HEAD,
        HEAD + "L1,Quentin\n",
        HEAD + "L1,,1990-01-01\n",
        HEAD + "L1,Quentin Ashdown,01.02.1990\n",
        HEAD + "Quentin Ashdown,Quentin Ashdown,\n",
        HEAD + 'L1,"Quentin Ashdown,1990-01-01\nL2,Another One,\n',
        HEAD + "L1," + "Q" * 5000 + ",\n",
    ],
)
def test_a_list_that_cannot_be_used_is_refused_without_its_contents(text: str) -> None:
    with pytest.raises(ReportRefused) as refusal:
        read_list(io.BytesIO(text.encode()))
    assert refusal.value.code == "input_invalid"
    assert "Quentin" not in str(refusal.value)
    with pytest.raises(ReportRefused, match="UTF-8"):
        read_list(io.BytesIO(HEAD.encode() + b"L1,\xff,\n"))


def test_a_list_gathers_aliases_and_dates_of_an_entry() -> None:
    text = f"\ufeff{HEAD}L1,Ann Lee,1990\nL2,Bo Ek,\nL1,Ana Li,1990-01-02\n"
    listed = read_list(io.BytesIO(text.encode()))
    [one, two] = listed.entries
    assert (one.id, one.names, one.years, one.dates) == (
        *("L1", ["Ann Lee", "Ana Li"]),
        *({1990}, {date(1990, 1, 2)}),
    )
    assert (two.id, two.names) == ("L2", ["Bo Ek"])


BORN = date(1971, 3, 9)


@pytest.mark.parametrize(
    ("born", "listed", "years", "points"),
    [
        ({BORN}, {BORN}, set(), 8),
        ({BORN}, {date(1971, 9, 3)}, set(), 4),
        ({BORN}, {date(1971, 3, 8)}, set(), 4),
        ({BORN}, {date(1972, 9, 3)}, set(), -15),
        ({BORN}, set(), {1971}, 4),
        ({BORN}, set(), {1972}, -15),
        ({BORN}, {date(1950, 1, 1), BORN}, set(), 8),
        (set(), {BORN}, set(), 0),
        ({BORN}, set(), set(), 0),
    ],
)
def test_birth_dates_raise_or_lower(
    born: set[date], listed: set[date], years: set[int], points: float
) -> None:
    assert agreement(born, listed, years) == points


@pytest.mark.parametrize(
    ("one", "other", "least"),
    [
        ("Владимир Щербаков", "Wladimir Shcherbakov", 99),
        ("Юрий Цветков", "Cvetkov, Iurii", 90),
        ("محمد الحسيني", "Mohammed al-Husseini", 95),
        ("عبد الرحمن الخطيب", "Abdulrahman Elkhatib", 90),
        ("Γεώργιος Παπαδόπουλος", "Georgios Papadopoulos", 95),
        ("Νίκος Μπακάλης", "Nikos Bakalis", 95),
        ("Jean-Paul Lefèvre", "LEFEVRE Jeanpaul", 95),
        ("Anna Maria Huber", "Huber Anna", 95),
        ("O'Brien, Séamus", "Seamus OBrien", 99),
    ],
)
def test_spellings_of_one_name_are_alike(one: str, other: str, least: float) -> None:
    for known, asked in ((one, other), (other, one)):
        [found] = NameIndex([["Somebody Else"], [known]]).alike(asked, 60)
        assert found.entry == 1
        assert found.score >= least


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Anna Huber", "Anton Weber"),
        ("Maria Lopez", "Maria Schneider"),
        ("Mohammed", "Mohammed al-Husseini"),
        ("", "Anna Huber"),
        ("123 !!", "Anna Huber"),
    ],
)
def test_other_names_are_not(one: str, other: str) -> None:
    assert NameIndex([[one]]).alike(other, 86) == []
    assert NameIndex([[other]]).alike(one, 86) == []
