"""Blind indexes that were edited: none leads to another value's token (PCI-DSS 3.5.1)."""

from tests.attacks.tampered_rows import (
    CARDS,
    PURPOSE,
    edit,
    event_of,
    flipped,
    shows_nothing,
    stored_rows,
    swap,
    tokenize,
)
from tests.calling import Caller
from tests.serving import Server


def test_swapped_blind_indexes(vault: Server, caller: Caller) -> None:
    """A blind index is not bound to its row. What it leads to is opened and compared, or
    one person's value would be handed another's token."""
    one, other, bystander = stored_rows(caller, 3)
    swap(vault, "blind_index", one, other)
    for row, wrong in ((one, other), (other, one)):
        answer = tokenize(caller, [row.value], subject="cus_swapped")
        assert answer.status_code == 500
        event, _ = event_of(vault, answer)
        assert event["outcome"] == "integrity_failure"
        looked = caller.post("/v1/lookup", {"data_class": "pan", "value": row.value})
        assert looked.status_code == 500
        event, _ = event_of(vault, looked)
        assert event["outcome"] == "integrity_failure"
        assert event["groups"][0]["tokens"] == [wrong.token]
        for text in (answer.text, looked.text):
            assert wrong.token not in text
            shows_nothing(text, row.value)
            shows_nothing(text, wrong.value)
        read = caller.detokenize([row.token], PURPOSE).json()["items"][0]
        assert read["value"] == row.value, "its token still leads to it"
    assert caller.tokenize("pan", [bystander.value]) == [bystander.token]
    assert vault.query(
        "SELECT subject FROM strongroom.tokens WHERE token IN (%s, %s)", one.token, other.token
    ) == [(None,), (None,)]


def test_swapped_blind_indexes_among_many(vault: Server, caller: Caller) -> None:
    rows = stored_rows(caller, 6)
    swap(vault, "blind_index", rows[0], rows[1])
    values = [*(row.value for row in rows), next(CARDS)]
    answer = tokenize(caller, values)
    assert answer.status_code == 207
    assert event_of(vault, answer)[0]["outcome"] == "partial"
    items = answer.json()["items"]
    assert [item["status"] for item in items] == ["error"] * 2 + ["ok"] * 5
    assert [item["token"] for item in items[2:6]] == [row.token for row in rows[2:]]
    values[-1] = next(CARDS)
    atomic = tokenize(caller, values, mode="atomic")
    assert atomic.status_code == 500
    assert event_of(vault, atomic)[0]["outcome"] == "integrity_failure"
    assert not any(row.token in atomic.text for row in rows)
    looked = caller.post("/v1/lookup", {"data_class": "pan", "value": values[-1]})
    assert looked.json()["token"] is None, "all or nothing"


def test_a_tampered_record_is_not_given_out_again(vault: Server, caller: Caller) -> None:
    """Tokenizing a known value gives no token that could not be read again."""
    row, bystander = stored_rows(caller, 2)
    [(record,)] = vault.query(
        "SELECT ciphertext FROM strongroom.tokens WHERE token = %s", row.token
    )
    edit(vault, row, "ciphertext = %s", flipped(14)(record))
    values = [row.value, bystander.value]
    answer = tokenize(caller, values)
    assert answer.status_code == 207
    broken, whole = answer.json()["items"]
    assert (broken["status"], whole["token"]) == ("error", bystander.token)
    assert "masked" not in broken
