"""Reports with plain values: the chargeback file, subject access, breach notification."""

import json
import tracemalloc
from datetime import date, timedelta
from typing import Any

import pytest
from mimesis import Locale, Person

from reporting_jobs.context import ReportRefused
from tests.fakes.run_vault import NOW, FakeRunVault, made, table
from tests.synthetic import cards
from vault_service.client.errors import RequestRefused
from vault_service.domain.events import EventGroup
from vault_service.domain.reports import PLAIN

PERSON = Person(Locale.EN, seed=11)
FROM, TO = "2026-05-01T00:00:00Z", "2026-05-08T00:00:00Z"
INSIDE = NOW - timedelta(days=29)
WEEK: dict[str, Any] = {"from": FROM, "to": TO}


def plain_only_where_declared(vault: FakeRunVault, rows: list[dict[str, Any]]) -> None:
    values = {stored.value for stored in vault.stored.values()}
    open_columns = {c.name for c in vault.definition.columns if c.classification in PLAIN}
    for row in rows:
        closed = {cell for name, cell in row.items() if name not in open_columns}
        assert not closed & values


def test_card_numbers_come_in_the_order_of_the_list() -> None:
    vault = FakeRunVault("chargeback_file")
    numbers = cards(5, seed=1)
    tokens = [vault.store("pan", number) for number in numbers]
    gone = "tok_pan_" + "z" * 26
    rows = table(vault, made(vault, tokens=[tokens[3], gone, tokens[0], tokens[3]]))
    assert rows == [
        {"token": tokens[3], "pan": numbers[3], "found": True},
        {"token": gone, "pan": None, "found": False},
        {"token": tokens[0], "pan": numbers[0], "found": True},
    ]
    plain_only_where_declared(vault, rows)
    assert vault.reads == {("pan", "plain")}


def test_a_chargeback_file_of_other_values_is_refused() -> None:
    vault = FakeRunVault("chargeback_file")
    token = vault.store("email", "someone@example.com")
    with pytest.raises(RequestRefused) as refusal:
        table(vault, made(vault, tokens=[token]))
    assert refusal.value.code == "access_denied"


def subject_vault() -> FakeRunVault:
    vault = FakeRunVault("subject_access")
    name = vault.store("person_name", PERSON.full_name(), "cus_1")
    vault.store("person_name", PERSON.full_name(), "cus_2")
    shared = vault.store("date_of_birth", "1980-02-03", "cus_2", "cus_1")
    vault.store("pan", cards(1, seed=2)[0], "cus_1", expires_at=NOW + timedelta(days=5))
    other = vault.store("email", PERSON.email(), "cus_2")
    # One request for two people: the other one's tokens are none of the first one's business.
    vault.record(
        "detokenize",
        EventGroup("ok", "person_name", "masked", tokens=(name, other), subjects=("cus_1",)),
        purpose="customer_support",
    )
    vault.record(
        "detokenize",
        EventGroup("ok", "date_of_birth", "plain", tokens=(shared,), subjects=("cus_2",)),
        at=NOW - timedelta(days=3),
        principal="job:sanctions_screening",
        purpose="regulatory_report",
    )
    vault.record("detokenize", EventGroup("ok", "email", "plain", tokens=(other,)))
    return vault


def test_a_person_gets_everything_that_is_stored_about_them() -> None:
    vault = subject_vault()
    output = made(vault, subject="cus_1")
    rows = table(vault, output)
    stored = {row["data_class"]: row for row in rows if row["record"] == "stored"}
    mine = {s.data_class: s.value for s in vault.stored.values() if "cus_1" in s.subjects}
    assert {name: row["value"] for name, row in stored.items()} == mine
    # The earlier of expiry and retention.
    assert stored["pan"]["kept_until"] == "2026-06-06T12:00:00Z"
    assert stored["date_of_birth"]["kept_until"] == "2036-05-19T12:00:00Z"
    plain_only_where_declared(vault, rows)
    told = json.dumps([[s.title, *s.paragraphs] for s in output.sections()])
    assert "Art. 77" in told


def test_a_person_learns_who_saw_their_data_and_nothing_about_others() -> None:
    vault = subject_vault()
    handled = [r for r in table(vault, made(vault, subject="cus_1")) if r["record"] == "handled"]
    assert [(row["recipient"], row["data_class"], row["form"]) for row in handled] == [
        ("crm", "person_name", "masked"),
        ("job:sanctions_screening", "date_of_birth", "plain"),
    ]
    assert handled[0]["purpose"] == "Help a customer who asks for it"
    others = [t for t, s in vault.stored.items() if "cus_1" not in s.subjects]
    assert not {row["token"] for row in handled} & set(others)
    assert {form for _, form in vault.reads} == {"plain", "tokens"}


def test_an_answer_that_would_miss_a_class_is_not_given() -> None:
    vault = subject_vault()
    vault.data_classes["passport"] = vault.data_classes["national_id"]
    with pytest.raises(ReportRefused, match="passport") as refusal:
        made(vault, subject="cus_1")
    assert refusal.value.code == "definition_incomplete"


def breach_vault() -> tuple[FakeRunVault, dict[str, str]]:
    vault = FakeRunVault("breach_notification")
    names = {}
    for number in range(30):
        subject = f"cus_{number:02}"
        names[subject] = PERSON.full_name()
        vault.store("person_name", "old name", subject, created_at=NOW - timedelta(days=90))
        vault.store("person_name", names[subject], subject)
        vault.store("email", f"{subject}@example.com", subject)
    return vault, names


def reveal(vault: FakeRunVault, data_class: str, tokens: tuple[str, ...], **fields: Any) -> None:
    outcome, form = fields.pop("outcome", "ok"), fields.pop("form", "plain")
    subjects = tuple(vault.stored[token].subjects[0] for token in tokens)
    group = EventGroup(outcome, data_class, form, tokens=tokens, subjects=subjects)
    settings = {"at": INSIDE, "principal": "support-agent", **fields}
    vault.record("detokenize", group, **settings)


def test_who_was_exposed_is_told_with_the_newest_contacts() -> None:
    vault, names = breach_vault()
    pan = vault.store("pan", cards(1, seed=3)[0], "cus_03")
    shared = vault.store("date_of_birth", "1970-01-01", "cus_04", "cus_05")
    reveal(vault, "pan", (pan,))
    reveal(vault, "date_of_birth", (shared,), form="masked", at=INSIDE + timedelta(days=1))
    reveal(vault, "date_of_birth", (shared,), at=INSIDE + timedelta(days=2))
    # None of these exposed anybody in question.
    reveal(vault, "pan", (vault.store("pan", cards(9, seed=4)[8], "cus_06"),), outcome="denied")
    reveal(vault, "pan", (vault.store("pan", cards(9, seed=4)[7], "cus_07"),), principal="crm")
    late = vault.store("pan", cards(9, seed=4)[6], "cus_08")
    reveal(vault, "pan", (late,), at=INSIDE + timedelta(days=20))
    parameters = {"principal": "support-agent", **WEEK}
    output = made(vault, **parameters)
    rows = table(vault, output)
    assert [(row["subject"], row["exposed"]) for row in rows] == [
        ("cus_03", "pan"),
        # A date that two people share was shown: both of them are concerned.
        ("cus_04", "date_of_birth"),
        ("cus_05", "date_of_birth"),
    ]
    assert [row["person_name"] for row in rows] == [names[row["subject"]] for row in rows]
    assert rows[0]["email"] == "cus_03@example.com"
    assert rows[0]["phone"] is None
    assert rows[1]["first_at"] < rows[1]["last_at"]
    plain_only_where_declared(vault, rows)
    assert ("pan", "plain") not in vault.reads
    [section] = output.sections()
    assert list(section.rows) == [("pan", 1), ("date_of_birth", 2)]
    assert [r["subject"] for r in table(vault, made(vault, **parameters, forms="plain"))] == [
        *("cus_03", "cus_04", "cus_05")
    ]


def test_a_value_deleted_since_still_names_its_first_owner() -> None:
    vault, _ = breach_vault()
    token = vault.store("pan", cards(1, seed=5)[0], "cus_09")
    nobodys = vault.store("pan", cards(2, seed=6)[1])
    reveal(vault, "pan", (token,))
    group = EventGroup("ok", "pan", "plain", tokens=(nobodys,))
    vault.record("detokenize", group, at=INSIDE, principal="support-agent")
    del vault.stored[token]
    output = made(vault, principal="support-agent", **WEEK)
    assert [row["subject"] for row in table(vault, output)] == ["cus_09"]
    assert "2 times a value was" in output.sections()[0].paragraphs[0]


def test_a_time_that_ends_before_it_begins_is_refused() -> None:
    vault, _ = breach_vault()
    with pytest.raises(ReportRefused) as refusal:
        made(vault, principal="crm", **(WEEK | {"from": TO, "to": FROM}))
    assert refusal.value.code == "parameters_invalid"


def test_more_people_than_the_cap_are_not_collected() -> None:
    vault, _ = breach_vault()
    for token in [t for t, s in vault.stored.items() if s.data_class == "email"]:
        reveal(vault, "email", (token,))
    parameters = {"principal": "support-agent", **WEEK}
    # One over the cap is made, by which the run fails.
    assert len(table(vault, made(vault, **parameters, row_cap=5))) == 6
    assert len(table(vault, made(vault, **parameters))) == 30


def test_people_are_read_some_at_a_time() -> None:
    peaks = []
    for people in (2_000, 8_000):
        vault = FakeRunVault("breach_notification")
        tokens = [
            vault.store("email", f"{date.min}-{number}@example.com", f"cus_{number:06}")
            for number in range(people)
        ]
        for at in range(0, people, 1000):
            reveal(vault, "email", tuple(tokens[at : at + 1000]))
        output = made(vault, principal="support-agent", **WEEK)
        tracemalloc.start()
        assert sum(1 for _ in output.rows) == people
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Some hundred bytes a person and the pages in hand, not their values.
    assert peaks[1] - peaks[0] < 6_000 * 700
