"""Wrapped keys that were exchanged or damaged: what they open fails closed (PCI-DSS 3.6.1)."""

import itertools

from tests.attacks.tampered_rows import CARDS, PURPOSE, event_of, shows_nothing
from tests.calling import Caller
from tests.serving import Serve, Server, run
from vault_service.bootstrap import open_services
from vault_service.settings import load


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
        "pan": [next(CARDS)],
        "pan_unverified": [next(CARDS)],
    }
    tokens = {name: caller.tokenize(name, found[:1]) for name, found in values.items()}
    _rotate(vault, "person_name")
    values["person_name"][1], second = _name_under_epoch_2(vault, caller)
    tokens["person_name"].append(second)
    foreign_value = next(CARDS)
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
            event, body = event_of(vault, answer)
            assert event["outcome"] == "integrity_failure"
            assert value.encode() not in body
    answer = merchant.detokenize([foreign], "chargeback")
    assert answer.status_code == 503
    shows_nothing(answer.text.replace(foreign, ""), foreign_value)
    assert event_of(vault, answer)[0]["outcome"] == "integrity_failure"
    refused = caller.post(
        "/v1/tokenize", {"items": [{"data_class": "iban", "value": values["iban"][0]}]}
    )
    assert refused.status_code == 503, "nothing is stored under a key that does not open"
