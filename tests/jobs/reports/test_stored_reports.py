"""Reports of what is stored: the inventory and the purge."""

from datetime import timedelta
from typing import Any

import pytest

from reporting_jobs.context import Holding, ReportRefused
from tests.fakes.run_vault import NOW, FakeRunVault, made, table
from vault_service.domain.events import EventGroup

ARN = "arn:aws:kms:eu-central-1:111122223333:key/pci"


def holding(data_class: str, epoch: int, tokens: int, **fields: Any) -> Holding:
    settings: dict[str, Any] = {
        "data_class": data_class,
        "tags": ("pci", "restricted"),
        "key_id": 100 + epoch,
        "epoch": epoch,
        "key_state": "retired",
        "key_created_at": NOW - timedelta(days=200 - 100 * epoch),
        "tokens": tokens,
        "subjects": tokens,
        "oldest": NOW - timedelta(days=190),
        "newest": NOW - timedelta(days=1),
        "overdue": 0,
        "retention_days": 730,
        "wrapping_key": ARN,
    }
    return Holding(**{**settings, **fields})


def inventory(*holdings: Holding) -> tuple[FakeRunVault, Any]:
    vault = FakeRunVault("pci_inventory")
    vault.holdings = list(holdings)
    return vault, made(vault)


def test_the_inventory_tells_what_lies_under_which_key() -> None:
    vault, output = inventory(
        holding("pan", 1, 3000, subjects=1200, overdue=40),
        holding("pan", 0, 500, subjects=400),
        holding("email", 0, 70, key_state="active"),
    )
    rows = table(vault, output)
    assert [(row["data_class"], row["tokens"]) for row in rows] == [
        *(("email", 70), ("pan", 500), ("pan", 3000))
    ]
    assert rows[2] == {
        "data_class": "pan",
        "tags": "pci restricted",
        "key_id": "101",
        "key_epoch": 1,
        "key_state": "retired",
        "key_created_at": "2026-02-21T12:00:00Z",
        "key_age_days": 100,
        "wrapping_key": ARN,
        "tokens": 3000,
        "subjects": 1200,
        "oldest": "2025-11-23",
        "newest": "2026-05-31",
        "retention_days": 730,
        "overdue": 40,
    }
    stored, keys, _ = output.sections()
    assert list(stored.rows) == [("email", "70", "0", 730), ("pan", "3,500", "40", 730)]
    assert list(stored.chart.values) == [70, 3500]
    # An active key of 200 days was not rotated in time.
    assert list(keys.rows) == [("email", 200)]
    assert not vault.reads


def test_a_small_group_is_not_shown_nor_what_gives_it_away() -> None:
    vault, output = inventory(
        holding("pan", 0, 4), holding("pan", 1, 600), holding("pan", 2, 900, overdue=3)
    )
    rows = table(vault, output)
    # 4 would be the total less the others, so the smallest of those goes too.
    assert [row["tokens"] for row in rows] == [None, None, 900]
    for hidden in rows[:2]:
        assert [hidden[name] for name in ("subjects", "overdue", "oldest", "newest")] == [None] * 4
    assert rows[2]["overdue"] is None
    [(_, total, overdue, _)] = output.sections()[0].rows
    assert (total, overdue) == ("1,504", "not shown")


@pytest.mark.parametrize(("overdue", "shown"), [(0, 0), (9, None), (10, 10), (95, None)])
def test_what_is_in_time_is_a_group_too(overdue: int, shown: int | None) -> None:
    vault, output = inventory(holding("pan", 0, 100, overdue=overdue))
    [row] = table(vault, output)
    assert (row["tokens"], row["overdue"]) == (100, shown)


def test_one_small_class_alone_is_not_told_by_its_total() -> None:
    vault, output = inventory(holding("pan", 0, 9, subjects=9))
    [row] = table(vault, output)
    assert row["tokens"] is None
    assert list(output.sections()[0].rows) == [("pan", "not shown", "not shown", 730)]
    assert list(output.sections()[0].chart.values) == []


def test_few_people_with_many_values_are_not_counted() -> None:
    vault, output = inventory(holding("pan", 0, 50, subjects=2))
    [row] = table(vault, output)
    assert (row["tokens"], row["subjects"]) == (50, None)


def test_flows_tell_who_put_in_and_took_out() -> None:
    vault = FakeRunVault("pci_inventory")
    many = tuple(f"tok_{n}" for n in range(12))
    vault.record("tokenize", EventGroup("ok", "pan", tokens=many), principal="checkout")
    vault.record("detokenize", EventGroup("ok", "pan", "plain", tokens=many[:3]))
    vault.record("detokenize", EventGroup("denied", "pan", "plain", tokens=many))
    vault.record("tokenize", EventGroup("ok", "pan", tokens=many), at=NOW - timedelta(days=91))
    flows = made(vault).sections()[2]
    assert list(flows.rows) == [
        ("checkout", "tokenize", "pan", "", "12"),
        ("crm", "detokenize", "pan", "plain", "not shown"),
    ]


def purge_vault(page: int = 1000) -> tuple[FakeRunVault, list[str]]:
    vault = FakeRunVault("retention_purge", page=page)
    overdue = [
        vault.store("pan", "1", created_at=NOW - timedelta(days=731)),
        vault.store("email", "2", "cus_1", "cus_2", expires_at=NOW - timedelta(days=1)),
    ]
    vault.store("pan", "3", created_at=NOW - timedelta(days=729))
    vault.store("email", "4", expires_at=NOW + timedelta(days=1))
    return vault, overdue


def test_a_purge_is_a_list_unless_it_is_asked_to_delete() -> None:
    vault, overdue = purge_vault()
    output = made(vault)
    rows = table(vault, output)
    assert [(row["token"], row["outcome"]) for row in rows] == [(t, "overdue") for t in overdue]
    assert len(vault.stored) == 4
    [section] = output.sections()
    assert section.paragraphs == ["2 tokens are overdue; nothing was deleted."]


def test_a_purge_deletes_what_is_overdue_and_nothing_else() -> None:
    vault, overdue = purge_vault()
    output = made(vault, mode="purge")
    rows = table(vault, output)
    assert [(row["token"], row["outcome"]) for row in rows] == [(t, "deleted") for t in overdue]
    assert sorted(stored.value for stored in vault.stored.values()) == ["3", "4"]
    assert list(output.sections()[0].rows) == [("email", 1), ("pan", 1)]
    assert {form for _, form in vault.reads} == {"tokens"}


def test_a_purge_that_was_killed_still_lists_everything() -> None:
    vault, overdue = purge_vault(page=1)
    killed = iter(made(vault, mode="purge").rows)
    assert next(killed)[0] == overdue[0]
    # What another run deleted is not this one's.
    vault.record(
        "delete_token",
        EventGroup("ok", "pan", tokens=("tok_other",)),
        at=NOW,
        principal="job:retention_purge",
        detail={"run": "run_other"},
    )
    rows = table(vault, made(vault, mode="purge"))
    assert sorted(row["token"] for row in rows) == sorted(overdue)
    assert {row["outcome"] for row in rows} == {"deleted"}


def test_a_purge_ends_at_its_cap_and_says_that_there_is_more() -> None:
    vault, overdue = purge_vault()
    output = made(vault, mode="purge", row_cap=1)
    assert [row["token"] for row in table(vault, output)] == overdue[:1]
    assert len(vault.stored) == 3
    assert "again" in output.sections()[0].paragraphs[1]


def test_a_purge_that_would_miss_a_class_is_refused() -> None:
    vault, _ = purge_vault()
    vault.data_classes["passport"] = vault.data_classes["national_id"]
    with pytest.raises(ReportRefused):
        made(vault, mode="purge")


def test_pages_are_taken_as_rows_are_asked_for() -> None:
    vault = FakeRunVault("retention_purge", page=10)
    for number in range(100):
        vault.store("pan", str(number), created_at=NOW - timedelta(days=800))
    rows = iter(made(vault, mode="purge").rows)
    next(rows)
    assert vault.pages == 1
    assert len(vault.stored) == 90
