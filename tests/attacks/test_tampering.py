"""What a superuser of the database can break, and what nobody gets out of it.

Records are bound to environment, tenant, class, token, key and tags, data keys to their
own row, and blind indexes are checked against the record they lead to (PCI-DSS 3.5.1,
3.6.1). Whatever is edited beneath the running service fails closed, is recorded as an
integrity failure and shows nothing, while the rows beside it still read.
"""

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import psycopg
import pytest

from tests.serving import Caller, Serve, Server, run
from tests.synthetic import cards
from vault_service.bootstrap import open_services
from vault_service.settings import load

PURPOSE: Final = "data_quality"
_cards: Final = iter(cards(400, seed=4711))


@dataclass(frozen=True)
class Row:
    """A token, and what is behind it."""

    token: str
    value: str


@pytest.fixture(scope="module")
def vault(serve_module: Serve) -> Server:
    return serve_module()


@pytest.fixture
def caller(vault: Server) -> Caller:
    return vault.caller("load-tester")


def _rows(caller: Caller, count: int, **fields: Any) -> list[Row]:
    values = [next(_cards) for _ in range(count)]
    return [
        Row(t, v) for t, v in zip(caller.tokenize("pan", values, **fields), values, strict=True)
    ]


def _swap(vault: Server, column: str, one: Row, other: Row) -> None:
    """Exchange a column of two rows."""
    found = dict(
        vault.query(
            f"SELECT token, {column} FROM strongroom.tokens WHERE token IN (%s, %s)",
            one.token,
            other.token,
        )
    )
    if column == "blind_index":
        _set(vault, one, f"{column} = NULL")  # for they must differ at any time
    _set(vault, other, f"{column} = %s", found[one.token])
    _set(vault, one, f"{column} = %s", found[other.token])


def _set(vault: Server, row: Row, assignment: str, *parameters: Any) -> None:
    found = vault.query(
        f"UPDATE strongroom.tokens SET {assignment} WHERE token = %s RETURNING token",
        *parameters,
        row.token,
    )
    assert found == [(row.token,)]


def _event(vault: Server, answer: httpx2.Response) -> tuple[dict[str, Any], bytes]:
    """The recorded event of an answer: what it says, and its bytes."""
    [(outcome, body)] = vault.query(
        "SELECT outcome, body FROM strongroom.audit_events WHERE id = %s",
        answer.json()["receipt"]["event_id"],
    )
    event = json.loads(body)
    assert event["outcome"] == outcome
    return event, body


def _tokenize(
    caller: Caller, values: list[str], mode: str = "partial", key: str | None = None, **fields: Any
) -> httpx2.Response:
    """Tokenize card numbers, whatever comes of it."""
    items = [{"data_class": "pan", "value": value, **fields} for value in values]
    headers = {} if key is None else {"Idempotency-Key": key}
    return caller.post("/v1/tokenize", {"items": items, "mode": mode}, headers=headers)


_VARYING: Final = re.compile(
    r"(?:req|evt)_[0-9a-z]+|tok_[a-z_]+_[0-9a-z]{27}|[0-9a-f]{64}|\d{4}-\d\d-\d\dT[\d:.]+"
)


def _shows_nothing(text: str, value: str) -> None:
    # Ids, hashes and times are long and vary: four digits of anything stand in some.
    text = _VARYING.sub("", text)
    assert value not in text
    assert value[6:12] not in text
    assert value[:6] not in text
    assert value[-4:] not in text


def _fails_closed(vault: Server, caller: Caller, row: Row, bystander: Row) -> None:
    """No form of the row is revealed, alone or in a batch; its failure is recorded under
    its token; the row beside it reads."""
    for form in ("masked", "plain", "bin", "last4"):
        alone = caller.detokenize([row.token], PURPOSE, form)
        assert alone.status_code in (500, 503), alone.text
        event, body = _event(vault, alone)
        assert event["outcome"] == "integrity_failure"
        assert [group["tokens"] for group in event["groups"]] == [[row.token]]
        for text in (alone.text, body.decode()):
            _shows_nothing(text.replace(row.token, ""), row.value)
    both = caller.detokenize([row.token, bystander.token], PURPOSE)
    assert both.status_code == 207
    broken, whole = both.json()["items"]
    assert broken["status"] == "error"
    assert "value" not in broken
    assert whole["value"] == bystander.value
    event, _ = _event(vault, both)
    assert {tuple(group["tokens"]): group["outcome"] for group in event["groups"]} == {
        (row.token,): "integrity_failure",
        (bystander.token,): "ok",
    }


def test_swapped_ciphertexts(vault: Server, caller: Caller) -> None:
    one, other, bystander = _rows(caller, 3)
    _swap(vault, "ciphertext", one, other)
    for row in (one, other):
        _fails_closed(vault, caller, row, bystander)
        _shows_nothing(
            caller.detokenize([row.token], PURPOSE).text.replace(row.token, ""),
            (other if row is one else one).value,
        )


def test_swapped_tokens(vault: Server, caller: Caller) -> None:
    one, other, bystander = _rows(caller, 3)
    for old, new in (
        (one.token, "aside"),
        (other.token, one.token),
        ("aside", other.token),
    ):
        vault.query("UPDATE strongroom.tokens SET token = %s WHERE token = %s", new, old)
    for row in (one, other):
        _fails_closed(vault, caller, row, bystander)


@pytest.mark.parametrize(
    "tags",
    [
        None,
        "{}",
        '{"region": "us"}',
        '{"region": "eu", "team": "x"}',
        '"eu"',
        "[]",
        "7",
        "null",
        "[" * 5000 + "]" * 5000,
    ],
    ids=lambda tags: str(tags)[:30],
)
def test_edited_tags(vault: Server, caller: Caller, tags: str | None) -> None:
    """Tags are what policies decide on, so an edited tag must not open anything."""
    row, bystander = _rows(caller, 2, tags={"region": "eu"})
    _set(vault, row, "tags = %s::jsonb", tags)
    _fails_closed(vault, caller, row, bystander)


def test_tags_given_to_a_row_without(vault: Server, caller: Caller) -> None:
    row, bystander = _rows(caller, 2)
    _set(vault, row, 'tags = \'{"region": "eu"}\'')
    _fails_closed(vault, caller, row, bystander)


def test_edited_data_class(vault: Server, caller: Caller) -> None:
    """Another class may have a wider policy; the record is still not of it."""
    caller.tokenize("pan_unverified", [next(_cards)])
    row, bystander = _rows(caller, 2)
    _set(vault, row, "data_class = 'pan_unverified'")
    _fails_closed(vault, caller, row, bystander)
    [(key_id,)] = vault.query(
        "SELECT id FROM strongroom.data_keys WHERE tenant = 'main' AND purpose = 'record'"
        " AND data_class = 'pan_unverified'"
    )
    _set(vault, row, "key_id = %s", key_id)
    _fails_closed(vault, caller, row, bystander)


def test_a_class_that_the_catalog_lacks(vault: Server, caller: Caller) -> None:
    row, bystander = _rows(caller, 2)
    _set(vault, row, "data_class = 'no_such_class'")
    answer = caller.detokenize([row.token, bystander.token], PURPOSE)
    broken, whole = answer.json()["items"]
    assert broken["status"] == "error"
    assert whole["value"] == bystander.value
    _shows_nothing(json.dumps(broken), row.value)
    assert caller.get(f"/v1/tokens/{row.token}").status_code >= 400


@pytest.mark.parametrize(
    "key", ["9000000000", "0", "-1", "(SELECT id FROM strongroom.data_keys WHERE {other})"]
)
def test_edited_key_id(vault: Server, caller: Caller, key: str) -> None:
    caller.tokenize("email", ["ada@example.com"])
    row, bystander = _rows(caller, 2)
    other = "tenant = 'main' AND data_class = 'email' AND purpose = 'record'"
    _set(vault, row, f"key_id = {key.format(other=other)}")
    _fails_closed(vault, caller, row, bystander)


def _flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda record: record[:at] + bytes([record[at] ^ 0x01]) + record[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_flipped(0), id="version"),
        pytest.param(_flipped(5), id="nonce"),
        pytest.param(lambda r: _flipped(13)(r), id="first byte of the text"),
        pytest.param(lambda r: _flipped(len(r) - 1)(r), id="authentication tag"),
        pytest.param(lambda r: r[:-1], id="cut by one"),
        pytest.param(lambda r: r[:29], id="cut to the overhead"),
        pytest.param(lambda r: r[:1], id="version alone"),
        pytest.param(lambda r: b"", id="emptied"),
        pytest.param(lambda r: r + b"\0", id="longer"),
        pytest.param(lambda r: bytes(len(r)), id="zeroed"),
    ],
)
def test_damaged_ciphertext(
    vault: Server, caller: Caller, damage: Callable[[bytes], bytes]
) -> None:
    row, bystander = _rows(caller, 2)
    [(record,)] = vault.query(
        "SELECT ciphertext FROM strongroom.tokens WHERE token = %s", row.token
    )
    _set(vault, row, "ciphertext = %s", damage(record))
    _fails_closed(vault, caller, row, bystander)


def test_a_row_moved_to_another_tenant(vault: Server, caller: Caller) -> None:
    row, kept = _rows(caller, 2)
    merchant = vault.caller("other-merchant")
    [own] = merchant.tokenize("pan", [next(_cards)])
    [(other_key,)] = vault.query("SELECT key_id FROM strongroom.tokens WHERE token = %s", own)
    _set(vault, row, "tenant = 'other'")
    assert caller.detokenize([row.token], PURPOSE).status_code == 404
    for key_id in (None, other_key):
        if key_id is not None:
            _set(vault, row, "key_id = %s", key_id)
        for form in ("masked", "plain"):
            answer = merchant.detokenize([row.token], "chargeback", form)
            assert answer.status_code == 500
            _shows_nothing(answer.text.replace(row.token, ""), row.value)
            event, _ = _event(vault, answer)
            assert event["outcome"] == "integrity_failure"
            assert event["tenant"] == "other"
    assert caller.detokenize([kept.token], PURPOSE).json()["items"][0]["value"] == kept.value
    assert merchant.detokenize([own], "chargeback").status_code == 200


def test_a_ciphertext_from_another_time(vault: Server, caller: Caller) -> None:
    """An older record of the same value does not pass under its new token."""
    [old] = _rows(caller, 1)
    [(record,)] = vault.query(
        "SELECT ciphertext FROM strongroom.tokens WHERE token = %s", old.token
    )
    assert vault.caller("vault-admin").delete(f"/v1/tokens/{old.token}").status_code == 204
    [token] = caller.tokenize("pan", [old.value])
    new, [bystander] = Row(token, old.value), _rows(caller, 1)
    _set(vault, new, "ciphertext = %s", record)
    _fails_closed(vault, caller, new, bystander)


def test_swapped_blind_indexes(vault: Server, caller: Caller) -> None:
    """A blind index is not bound to its row. What it leads to is opened and compared, or
    one person's value would be handed another's token."""
    one, other, bystander = _rows(caller, 3)
    _swap(vault, "blind_index", one, other)
    for row, wrong in ((one, other), (other, one)):
        answer = _tokenize(caller, [row.value], subject="cus_swapped")
        assert answer.status_code == 500
        event, _ = _event(vault, answer)
        assert event["outcome"] == "integrity_failure"
        looked = caller.post("/v1/lookup", {"data_class": "pan", "value": row.value})
        assert looked.status_code == 500
        event, _ = _event(vault, looked)
        assert event["outcome"] == "integrity_failure"
        assert event["groups"][0]["tokens"] == [wrong.token]
        for text in (answer.text, looked.text):
            assert wrong.token not in text
            _shows_nothing(text, row.value)
            _shows_nothing(text, wrong.value)
        read = caller.detokenize([row.token], PURPOSE).json()["items"][0]
        assert read["value"] == row.value, "its token still leads to it"
    assert caller.tokenize("pan", [bystander.value]) == [bystander.token]
    assert vault.query(
        "SELECT subject FROM strongroom.tokens WHERE token IN (%s, %s)", one.token, other.token
    ) == [(None,), (None,)]


def test_swapped_blind_indexes_among_many(vault: Server, caller: Caller) -> None:
    rows = _rows(caller, 6)
    _swap(vault, "blind_index", rows[0], rows[1])
    values = [*(row.value for row in rows), next(_cards)]
    answer = _tokenize(caller, values)
    assert answer.status_code == 207
    assert _event(vault, answer)[0]["outcome"] == "partial"
    items = answer.json()["items"]
    assert [item["status"] for item in items] == ["error"] * 2 + ["ok"] * 5
    assert [item["token"] for item in items[2:6]] == [row.token for row in rows[2:]]
    values[-1] = next(_cards)
    atomic = _tokenize(caller, values, mode="atomic")
    assert atomic.status_code == 500
    assert _event(vault, atomic)[0]["outcome"] == "integrity_failure"
    assert not any(row.token in atomic.text for row in rows)
    looked = caller.post("/v1/lookup", {"data_class": "pan", "value": values[-1]})
    assert looked.json()["token"] is None, "all or nothing"


def test_a_tampered_record_is_not_given_out_again(vault: Server, caller: Caller) -> None:
    """Tokenizing a known value gives no token that could not be read again."""
    row, bystander = _rows(caller, 2)
    [(record,)] = vault.query(
        "SELECT ciphertext FROM strongroom.tokens WHERE token = %s", row.token
    )
    _set(vault, row, "ciphertext = %s", _flipped(14)(record))
    values = [row.value, bystander.value]
    answer = _tokenize(caller, values)
    assert answer.status_code == 207
    broken, whole = answer.json()["items"]
    assert (broken["status"], whole["token"]) == ("error", bystander.token)
    assert "masked" not in broken


def test_edited_answers_kept_for_repeats(vault: Server, caller: Caller) -> None:
    """An answer kept for an ``Idempotency-Key`` is no way around the check either."""
    one, other = next(_cards), next(_cards)
    tokens = [
        _tokenize(caller, [value], key=f"kept-{at}").json()["items"][0]["token"]
        for at, value in enumerate((one, other))
    ]
    kept = dict(vault.query("SELECT key, answer FROM strongroom.idempotency"))
    edited = kept["kept-0"].replace(tokens[0].encode(), tokens[1].encode())
    assert edited != kept["kept-0"]
    for answer in (edited, kept["kept-1"], kept["kept-0"][:40], kept["kept-0"][32:], b""):
        vault.query("UPDATE strongroom.idempotency SET answer = %s WHERE key = 'kept-0'", answer)
        repeat = _tokenize(caller, [one], key="kept-0")
        assert repeat.status_code == 500
        assert tokens[1] not in repeat.text
        assert _event(vault, repeat)[0]["outcome"] == "integrity_failure"
    vault.query(
        "UPDATE strongroom.idempotency SET answer = %s WHERE key = 'kept-0'", kept["kept-0"]
    )
    assert _tokenize(caller, [one], key="kept-0").json()["items"][0]["token"] == tokens[0]


def test_tenants_stay_apart_without_row_level_security(serve: Serve) -> None:
    """The fence in the database is the second one: with it torn down, every statement
    still asks for its own tenant alone."""
    vault = serve()
    caller, merchant = vault.caller("load-tester"), vault.caller("other-merchant")
    rows = _rows(caller, 2, subject="cus_1")
    vault.query(
        "DO $$ DECLARE fenced text; BEGIN FOR fenced IN SELECT tablename FROM pg_tables"
        " WHERE schemaname = 'strongroom' AND rowsecurity LOOP EXECUTE format("
        "'ALTER TABLE strongroom.%I DISABLE ROW LEVEL SECURITY', fenced); END LOOP; END $$;"
        " DROP POLICY tenant ON strongroom.tokens; DROP POLICY tenant ON strongroom.audit_events"
    )
    tokens = [row.token for row in rows]
    assert merchant.detokenize(tokens, "chargeback").status_code == 404
    assert merchant.get(f"/v1/tokens/{tokens[0]}").status_code == 404
    assert merchant.delete(f"/v1/tokens/{tokens[0]}").status_code in (403, 404)
    looked = merchant.post("/v1/lookup", {"data_class": "pan", "value": rows[0].value})
    if looked.status_code == 200:
        assert looked.json()["token"] is None
    assert merchant.tokenize("pan", [rows[0].value]) != tokens[:1]
    assert caller.detokenize(tokens, PURPOSE).status_code == 200
    own = {event["tenant"] for event in vault.caller("auditor").events()}
    assert own == {"main"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE strongroom.audit_events SET outcome = 'ok'",
        "DELETE FROM strongroom.audit_events",
        "TRUNCATE strongroom.audit_events",
    ],
)
def test_not_even_a_superuser_changes_events_by_accident(
    vault: Server, caller: Caller, statement: str
) -> None:
    """PCI-DSS 10.3.2. On purpose a superuser can disable the trigger: against that
    stands the transparency log, not the database."""
    _rows(caller, 1)
    before = vault.query("SELECT count(*) FROM strongroom.audit_events")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        vault.query(statement)
    assert vault.query("SELECT count(*) FROM strongroom.audit_events") == before


def test_what_is_not_bound_is_not_trusted_with_values(vault: Server, caller: Caller) -> None:
    """Subject and expiry lie outside the record's binding, since both may change. A
    superuser can edit them; it moves no value to anybody who may not see it."""
    row, bystander = _rows(caller, 2, subject="cus_1", expires_in=3600)
    _set(vault, row, "subject = 'cus_2', expires_at = NULL")
    answer = caller.detokenize([row.token, bystander.token], PURPOSE)
    assert [item["value"] for item in answer.json()["items"]] == [row.value, bystander.value]
    event, _ = _event(vault, answer)
    assert event["groups"][0]["subjects"] == ["cus_2", "cus_1"]
    assert vault.caller("auditor").detokenize([row.token], PURPOSE).status_code == 403


def _rotate(vault: Server, data_class: str) -> None:
    async def rotate() -> None:
        async with open_services(load(vault.settings())) as services:
            await services.keyring.rotate("main", services.catalog.data_class(data_class))

    run(rotate())


def _record_key(data_class: str, tenant: str = "main", epoch: int = 1) -> str:
    return (
        f"tenant = '{tenant}' AND data_class = '{data_class}' AND purpose = 'record'"
        f" AND epoch = {epoch}"
    )


def _swap_keys(vault: Server, one: str, other: str) -> None:
    found = vault.query(
        "UPDATE strongroom.data_keys AS k SET wrapped = o.wrapped FROM strongroom.data_keys AS o"
        f" WHERE (k.id = (SELECT id FROM strongroom.data_keys WHERE {one})"
        f" AND o.id = (SELECT id FROM strongroom.data_keys WHERE {other}))"
        f" OR (k.id = (SELECT id FROM strongroom.data_keys WHERE {other})"
        f" AND o.id = (SELECT id FROM strongroom.data_keys WHERE {one})) RETURNING k.id"
    )
    assert len(found) == 2


def _damage_key(vault: Server, which: str, expression: str) -> None:
    found = vault.query(
        f"UPDATE strongroom.data_keys SET wrapped = {expression} WHERE {which} RETURNING id"
    )
    assert len(found) == 1


def _name_under_epoch_2(vault: Server, caller: Caller) -> tuple[str, str]:
    """A name, and its token under the next key: it is taken up within a second."""
    for number in itertools.count():
        name = f"Grace Hopper the {number}"
        [token] = caller.tokenize("person_name", [name])
        if vault.query(
            "SELECT 1 FROM strongroom.tokens AS t JOIN strongroom.data_keys AS k ON k.id = t.key_id"
            " WHERE t.token = %s AND k.epoch = 2",
            token,
        ):
            return name, token
    raise AssertionError("the count has no end")


def test_swapped_and_damaged_keys(serve: Serve) -> None:
    """Wrapped keys are bound to their rows (PCI-DSS 3.6.1): whichever way they are moved,
    no record opens, and classes with whole keys are not touched."""
    vault = serve()
    caller, merchant = vault.caller("load-tester"), vault.caller("other-merchant")
    values = {
        "person_name": ["Ada Lovelace", "Grace Hopper"],
        "email": ["ada@example.com"],
        "phone": ["+14155552671"],
        "iban": ["DE89370400440532013000"],
        "us_ssn": ["536-22-1234"],
        "date_of_birth": ["1980-02-29"],
        "ip_address": ["192.0.2.77"],
        "postal_address": ["1 Main Street, Springfield"],
        "pan": [next(_cards)],
        "pan_unverified": [next(_cards)],
    }
    tokens = {name: caller.tokenize(name, found[:1]) for name, found in values.items()}
    _rotate(vault, "person_name")
    values["person_name"][1], second = _name_under_epoch_2(vault, caller)
    tokens["person_name"].append(second)
    foreign_value = next(_cards)
    [foreign] = merchant.tokenize("pan", [foreign_value])
    _swap_keys(vault, _record_key("person_name"), _record_key("person_name", epoch=2))
    _swap_keys(vault, _record_key("email"), _record_key("phone"))
    _swap_keys(vault, _record_key("pan"), _record_key("pan", tenant="other"))
    _swap_keys(
        vault,
        _record_key("ip_address"),
        "tenant = 'main' AND data_class = 'ip_address' AND purpose = 'blind_index'",
    )
    last = "set_byte(wrapped, length(wrapped) - 1, get_byte(wrapped, length(wrapped) - 1) # 1)"
    _damage_key(vault, _record_key("iban"), last)
    _damage_key(vault, _record_key("us_ssn"), "substring(wrapped for length(wrapped) / 2)")
    _damage_key(vault, _record_key("date_of_birth"), "''")
    vault.query("UPDATE strongroom.data_keys SET epoch = 7 WHERE " + _record_key("postal_address"))
    vault.restart()
    whole = ("pan_unverified", "postal_address")
    for name, found in tokens.items():
        for token, value in zip(found, values[name], strict=True):
            answer = caller.detokenize([token], PURPOSE)
            if name in whole:
                assert answer.json()["items"][0]["value"] == value
                continue
            assert answer.status_code == 503
            assert answer.json()["code"] == "key_unavailable"
            assert value not in answer.text
            event, body = _event(vault, answer)
            assert event["outcome"] == "integrity_failure"
            assert value.encode() not in body
    answer = merchant.detokenize([foreign], "chargeback")
    assert answer.status_code == 503
    _shows_nothing(answer.text.replace(foreign, ""), foreign_value)
    assert _event(vault, answer)[0]["outcome"] == "integrity_failure"
    refused = caller.post(
        "/v1/tokenize", {"items": [{"data_class": "iban", "value": values["iban"][0]}]}
    )
    assert refused.status_code == 503, "nothing is stored under a key that does not open"
