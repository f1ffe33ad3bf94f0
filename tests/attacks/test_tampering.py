"""What a superuser of the database can break, and what nobody gets out of it.

Records are bound to environment, tenant, class, token, key and tags, data keys to their
own row, and blind indexes are checked against the record they lead to (PCI-DSS 3.5.1,
3.6.1). Whatever is edited beneath the running service fails closed, is recorded as an
integrity failure and shows nothing, while the rows beside it still read.
"""

import json
from collections.abc import Callable

import psycopg
import pytest

from tests.attacks.tampered_rows import (
    CARDS,
    PURPOSE,
    Row,
    edit,
    event_of,
    fails_closed,
    flipped,
    shows_nothing,
    stored_rows,
    swap,
    tokenize,
)
from tests.calling import Caller
from tests.serving import Serve, Server


def test_swapped_ciphertexts(vault: Server, caller: Caller) -> None:
    one, other, bystander = stored_rows(caller, 3)
    swap(vault, "ciphertext", one, other)
    for row in (one, other):
        fails_closed(vault, caller, row, bystander)
        shows_nothing(
            caller.detokenize([row.token], PURPOSE).text.replace(row.token, ""),
            (other if row is one else one).value,
        )


def test_swapped_tokens(vault: Server, caller: Caller) -> None:
    one, other, bystander = stored_rows(caller, 3)
    for old, new in (
        (one.token, "aside"),
        (other.token, one.token),
        ("aside", other.token),
    ):
        vault.query("UPDATE strongroom.tokens SET token = %s WHERE token = %s", new, old)
    for row in (one, other):
        fails_closed(vault, caller, row, bystander)


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
    row, bystander = stored_rows(caller, 2, tags={"region": "eu"})
    edit(vault, row, "tags = %s::jsonb", tags)
    fails_closed(vault, caller, row, bystander)


def test_tags_given_to_a_row_without(vault: Server, caller: Caller) -> None:
    row, bystander = stored_rows(caller, 2)
    edit(vault, row, 'tags = \'{"region": "eu"}\'')
    fails_closed(vault, caller, row, bystander)


def test_edited_data_class(vault: Server, caller: Caller) -> None:
    """Another class may have a wider policy; the record is still not of it."""
    caller.tokenize("pan_unverified", [next(CARDS)])
    row, bystander = stored_rows(caller, 2)
    edit(vault, row, "data_class = 'pan_unverified'")
    fails_closed(vault, caller, row, bystander)
    [(key_id,)] = vault.query(
        "SELECT id FROM strongroom.data_keys WHERE tenant = 'main' AND purpose = 'record'"
        " AND data_class = 'pan_unverified'"
    )
    edit(vault, row, "key_id = %s", key_id)
    fails_closed(vault, caller, row, bystander)


def test_a_class_that_the_catalog_lacks(vault: Server, caller: Caller) -> None:
    row, bystander = stored_rows(caller, 2)
    edit(vault, row, "data_class = 'no_such_class'")
    answer = caller.detokenize([row.token, bystander.token], PURPOSE)
    broken, whole = answer.json()["items"]
    assert broken["status"] == "error"
    assert whole["value"] == bystander.value
    shows_nothing(json.dumps(broken), row.value)
    assert caller.get(f"/v1/tokens/{row.token}").status_code >= 400


@pytest.mark.parametrize(
    "key", ["9000000000", "0", "-1", "(SELECT id FROM strongroom.data_keys WHERE {other})"]
)
def test_edited_key_id(vault: Server, caller: Caller, key: str) -> None:
    caller.tokenize("email", ["ada@example.com"])
    row, bystander = stored_rows(caller, 2)
    other = "tenant = 'main' AND data_class = 'email' AND purpose = 'record'"
    edit(vault, row, f"key_id = {key.format(other=other)}")
    fails_closed(vault, caller, row, bystander)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(flipped(0), id="version"),
        pytest.param(flipped(5), id="nonce"),
        pytest.param(lambda r: flipped(13)(r), id="first byte of the text"),
        pytest.param(lambda r: flipped(len(r) - 1)(r), id="authentication tag"),
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
    row, bystander = stored_rows(caller, 2)
    [(record,)] = vault.query(
        "SELECT ciphertext FROM strongroom.tokens WHERE token = %s", row.token
    )
    edit(vault, row, "ciphertext = %s", damage(record))
    fails_closed(vault, caller, row, bystander)


def test_a_row_moved_to_another_tenant(vault: Server, caller: Caller) -> None:
    row, kept = stored_rows(caller, 2)
    merchant = vault.caller("other-merchant")
    [own] = merchant.tokenize("pan", [next(CARDS)])
    [(other_key,)] = vault.query("SELECT key_id FROM strongroom.tokens WHERE token = %s", own)
    edit(vault, row, "tenant = 'other'")
    assert caller.detokenize([row.token], PURPOSE).status_code == 404
    for key_id in (None, other_key):
        if key_id is not None:
            edit(vault, row, "key_id = %s", key_id)
        for form in ("masked", "plain"):
            answer = merchant.detokenize([row.token], "chargeback", form)
            assert answer.status_code == 500
            shows_nothing(answer.text.replace(row.token, ""), row.value)
            event, _ = event_of(vault, answer)
            assert event["outcome"] == "integrity_failure"
            assert event["tenant"] == "other"
    assert caller.detokenize([kept.token], PURPOSE).json()["items"][0]["value"] == kept.value
    assert merchant.detokenize([own], "chargeback").status_code == 200


def test_a_ciphertext_from_another_time(vault: Server, caller: Caller) -> None:
    """An older record of the same value does not pass under its new token."""
    [old] = stored_rows(caller, 1)
    [(record,)] = vault.query(
        "SELECT ciphertext FROM strongroom.tokens WHERE token = %s", old.token
    )
    assert vault.caller("vault-admin").delete(f"/v1/tokens/{old.token}").status_code == 204
    [token] = caller.tokenize("pan", [old.value])
    new, [bystander] = Row(token, old.value), stored_rows(caller, 1)
    edit(vault, new, "ciphertext = %s", record)
    fails_closed(vault, caller, new, bystander)


def test_edited_answers_kept_for_repeats(vault: Server, caller: Caller) -> None:
    """An answer kept for an ``Idempotency-Key`` is no way around the check either."""
    one, other = next(CARDS), next(CARDS)
    tokens = [
        tokenize(caller, [value], key=f"kept-{at}").json()["items"][0]["token"]
        for at, value in enumerate((one, other))
    ]
    kept = dict(vault.query("SELECT key, answer FROM strongroom.idempotency"))
    edited = kept["kept-0"].replace(tokens[0].encode(), tokens[1].encode())
    assert edited != kept["kept-0"]
    for answer in (edited, kept["kept-1"], kept["kept-0"][:40], kept["kept-0"][32:], b""):
        vault.query("UPDATE strongroom.idempotency SET answer = %s WHERE key = 'kept-0'", answer)
        repeat = tokenize(caller, [one], key="kept-0")
        assert repeat.status_code == 500
        assert tokens[1] not in repeat.text
        assert event_of(vault, repeat)[0]["outcome"] == "integrity_failure"
    vault.query(
        "UPDATE strongroom.idempotency SET answer = %s WHERE key = 'kept-0'", kept["kept-0"]
    )
    assert tokenize(caller, [one], key="kept-0").json()["items"][0]["token"] == tokens[0]


def test_tenants_stay_apart_without_row_level_security(serve: Serve) -> None:
    """The fence in the database is the second one: with it torn down, every statement
    still asks for its own tenant alone."""
    vault = serve()
    caller, merchant = vault.caller("load-tester"), vault.caller("other-merchant")
    rows = stored_rows(caller, 2, subject="cus_1")
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
    stored_rows(caller, 1)
    before = vault.query("SELECT count(*) FROM strongroom.audit_events")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        vault.query(statement)
    assert vault.query("SELECT count(*) FROM strongroom.audit_events") == before


def test_what_is_not_bound_is_not_trusted_with_values(vault: Server, caller: Caller) -> None:
    """Subject and expiry lie outside the record's binding, since both may change. A
    superuser can edit them; it moves no value to anybody who may not see it."""
    row, bystander = stored_rows(caller, 2, subject="cus_1", expires_in=3600)
    edit(vault, row, "subject = 'cus_2', expires_at = NULL")
    answer = caller.detokenize([row.token, bystander.token], PURPOSE)
    assert [item["value"] for item in answer.json()["items"]] == [row.value, bystander.value]
    event, _ = event_of(vault, answer)
    assert event["groups"][0]["subjects"] == ["cus_2", "cus_1"]
    assert vault.caller("auditor").detokenize([row.token], PURPOSE).status_code == 403
