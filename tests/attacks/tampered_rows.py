"""Rows of a running vault, edited beneath it by a superuser, and what must come of it."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from tests.calling import Caller
from tests.serving import Server
from tests.synthetic import cards

PURPOSE: Final = "data_quality"
CARDS: Final = iter(cards(400, seed=4711))


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda record: record[:at] + bytes([record[at] ^ 0x01]) + record[at + 1 :]


@dataclass(frozen=True)
class Row:
    """A token, and what is behind it."""

    token: str
    value: str


def stored_rows(caller: Caller, count: int, **fields: Any) -> list[Row]:
    values = [next(CARDS) for _ in range(count)]
    return [
        Row(t, v) for t, v in zip(caller.tokenize("pan", values, **fields), values, strict=True)
    ]


def swap(vault: Server, column: str, one: Row, other: Row) -> None:
    """Exchange a column of two rows."""
    found = dict(
        vault.query(
            f"SELECT token, {column} FROM strongroom.tokens WHERE token IN (%s, %s)",
            one.token,
            other.token,
        )
    )
    if column == "blind_index":
        edit(vault, one, f"{column} = NULL")  # for they must differ at any time
    edit(vault, other, f"{column} = %s", found[one.token])
    edit(vault, one, f"{column} = %s", found[other.token])


def edit(vault: Server, row: Row, assignment: str, *parameters: Any) -> None:
    found = vault.query(
        f"UPDATE strongroom.tokens SET {assignment} WHERE token = %s RETURNING token",
        *parameters,
        row.token,
    )
    assert found == [(row.token,)]


def event_of(vault: Server, answer: httpx2.Response) -> tuple[dict[str, Any], bytes]:
    """The recorded event of an answer: what it says, and its bytes."""
    [(outcome, body)] = vault.query(
        "SELECT outcome, body FROM strongroom.audit_events WHERE id = %s",
        answer.json()["receipt"]["event_id"],
    )
    event = json.loads(body)
    assert event["outcome"] == outcome
    return event, body


def tokenize(
    caller: Caller, values: list[str], mode: str = "partial", key: str | None = None, **fields: Any
) -> httpx2.Response:
    """Tokenize card numbers, whatever comes of it."""
    items = [{"data_class": "pan", "value": value, **fields} for value in values]
    headers = {} if key is None else {"Idempotency-Key": key}
    return caller.post("/v1/tokenize", {"items": items, "mode": mode}, headers=headers)


_VARYING: Final = re.compile(
    r"(?:req|evt)_[0-9a-z]+|tok_[a-z_]+_[0-9a-z]{27}|[0-9a-f]{64}|\d{4}-\d\d-\d\dT[\d:.]+"
)


def shows_nothing(text: str, value: str) -> None:
    # Ids, hashes and times are long and vary: four digits of anything stand in some.
    text = _VARYING.sub("", text)
    assert value not in text
    assert value[6:12] not in text
    assert value[:6] not in text
    assert value[-4:] not in text


def fails_closed(vault: Server, caller: Caller, row: Row, bystander: Row) -> None:
    """No form of the row is revealed, alone or in a batch; its failure is recorded under
    its token; the row beside it reads."""
    for form in ("masked", "plain", "bin", "last4"):
        alone = caller.detokenize([row.token], PURPOSE, form)
        assert alone.status_code in (500, 503), alone.text
        event, body = event_of(vault, alone)
        assert event["outcome"] == "integrity_failure"
        assert [group["tokens"] for group in event["groups"]] == [[row.token]]
        for text in (alone.text, body.decode()):
            shows_nothing(text.replace(row.token, ""), row.value)
    both = caller.detokenize([row.token, bystander.token], PURPOSE)
    assert both.status_code == 207
    broken, whole = both.json()["items"]
    assert broken["status"] == "error"
    assert "value" not in broken
    assert whole["value"] == bystander.value
    event, _ = event_of(vault, both)
    assert {tuple(group["tokens"]): group["outcome"] for group in event["groups"]} == {
        (row.token,): "integrity_failure",
        (bystander.token,): "ok",
    }
