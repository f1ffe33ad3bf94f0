"""Finding audit events in PostgreSQL: every filter, and colliding keys."""

import asyncio
import json
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
import pytest

from tests.stored import AT, Counted, event
from vault_service.adapters.postgres.audit import subject_term, terms, token_term
from vault_service.adapters.postgres.audit_reader import PostgresAuditReader
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.token_store import PostgresTokenStore
from vault_service.domain.events import AuditEvent, EventGroup, canonical_bytes
from vault_service.domain.ports import AuditQuery

_TRIES: Final = 1 << 17
_MIXED: Final = (
    (("t1",), ()),
    ((), ()),
    (("t2", "t3", "t4"), ("s1",)),
    ((), ("s2", "s3")),
    ((), ()),
    (("t5",), ()),
)


def collision(text: str, prefix: str) -> str:
    """Another text of the same length and CRC-32, that begins with ``prefix`` and has
    twelve more characters. CRC-32 is linear, so 2^17 middles and 2^17 ends, each tried
    once, give 2^34 texts; some four of them hit."""
    assert len(text) == len(prefix) + 12
    wanted = zlib.crc32(text.encode())
    zeros = bytes(len(text))
    nothing = zlib.crc32(zeros)
    middles = {zlib.crc32(f"{prefix}{n:06d}".encode() + bytes(6)): n for n in range(_TRIES)}
    for end in range(_TRIES):
        change = zlib.crc32(zeros[:-6] + f"{end:06d}".encode()) ^ nothing
        middle = middles.get(wanted ^ change)
        if middle is not None:
            return f"{prefix}{middle:06d}{end:06d}"
    raise AssertionError("no collision with this prefix; choose another")


@pytest.fixture
def reader(database: Database) -> PostgresAuditReader:
    return PostgresAuditReader(database)


async def ids(reader: PostgresAuditReader, query: AuditQuery) -> list[str]:
    return [str(json.loads(body)["id"]) for _, body in await reader.events(query)]


def about(
    tenant: str,
    tokens: tuple[str, ...] = (),
    subjects: tuple[str, ...] = (),
    data_class: str = "pan",
    **fields: Any,
) -> AuditEvent:
    group = EventGroup("ok", data_class, tokens=tokens, subjects=subjects, count=1)
    return event(tenant, groups=(group,), **fields)


async def test_every_filter_alone_and_together(
    store: PostgresTokenStore, reader: PostgresAuditReader, tenant: str
) -> None:
    second = timedelta(seconds=1)
    events = [
        about(tenant, ("t1", "t2"), ("s1",), principal="checkout"),
        about(tenant, ("t2",), ("s2",), "email", principal="crm", occurred_at=AT + second),
        about(
            tenant,
            ("t1",),
            ("s1", "s2"),
            action="detokenize",
            purpose="chargeback",
            occurred_at=AT + 2 * second,
        ),
        about(tenant, (), (), action="detokenize", outcome="denied", occurred_at=AT + 3 * second),
    ]
    for each in events:
        await store.append(each)
    names = {each.id: number for number, each in enumerate(events)}
    for fields, wanted in (
        ({}, [3, 2, 1, 0]),
        ({"principal": "crm"}, [1]),
        ({"action": "detokenize"}, [3, 2]),
        ({"outcome": "denied"}, [3]),
        ({"purpose": "chargeback"}, [2]),
        ({"data_class": "email"}, [1]),
        ({"token": "t1"}, [2, 0]),
        ({"token": "t2"}, [1, 0]),
        ({"token": "s1"}, []),
        ({"subject": "s2"}, [2, 1]),
        ({"subject": "t1"}, []),
        ({"token": "t1", "subject": "s2"}, [2]),
        ({"token": "t2", "subject": "s2"}, [1]),
        ({"token": "t1", "action": "tokenize"}, [0]),
        ({"since": AT + second, "until": AT + 3 * second}, [2, 1]),
        ({"since": AT + second, "token": "t1"}, [2]),
    ):
        settings: dict[str, Any] = fields
        query = AuditQuery(tenant, 10, **settings)
        assert [names[each] for each in await ids(reader, query)] == wanted, fields


async def test_pages_follow_on_one_another(
    store: PostgresTokenStore, reader: PostgresAuditReader, tenant: str
) -> None:
    events = [about(tenant, ("t1",)) for _ in range(7)]
    for each in events:
        await store.append(each)
    for token in (None, "t1"):
        found: list[str] = []
        before = None
        while page := await reader.events(AuditQuery(tenant, 3, token=token, before=before)):
            assert [position for position, _ in page] == sorted(
                (position for position, _ in page), reverse=True
            )
            found += [json.loads(body)["id"] for _, body in page]
            before = page[-1][0]
        assert found == [each.id for each in reversed(events)]


async def test_bytes_come_back_as_they_were_recorded(
    store: PostgresTokenStore, reader: PostgresAuditReader, tenant: str
) -> None:
    made = about(tenant, ("t1",), ('ü \u2028 "',), detail={"x": ["y", 1]})
    await store.append(made)
    [(_, body)] = await reader.events(AuditQuery(tenant, 10))
    assert body == canonical_bytes(made)


async def test_tokens_and_subjects_whose_keys_collide(
    store: PostgresTokenStore, reader: PostgresAuditReader, tenant: str
) -> None:
    """Search keys are short. Two tokens, or two subjects, with the same one are told
    apart by the events themselves, also where whole pages are of the other."""
    token, person = "tok_pan_0123456789abcdef", "cus_0123456789ab"
    other, twin = collision(token, "tok_pan_wxyz"), collision(person, "cus_")
    assert token_term(other) == token_term(token)
    assert subject_term(twin) == subject_term(person)
    wanted = about(tenant, (token,), (person,))
    await store.append(wanted)
    for _ in range(7):
        await store.append(about(tenant, (other,), (twin,)))
    for limit in (1, 2, 7, 8, 100):
        assert await ids(reader, AuditQuery(tenant, limit, token=token)) == [wanted.id]
        assert await ids(reader, AuditQuery(tenant, limit, subject=person)) == [wanted.id]
        query = AuditQuery(tenant, limit, token=token, subject=person)
        assert await ids(reader, query) == [wanted.id]
        assert not await ids(reader, AuditQuery(tenant, limit, token=token, subject=twin))
    assert len(await ids(reader, AuditQuery(tenant, 100, token=other))) == 7
    assert len(await ids(reader, AuditQuery(tenant, 3, subject=twin))) == 3


def test_a_token_and_a_subject_with_one_text_have_two_keys(tenant: str) -> None:
    assert token_term("same") != subject_term("same")
    assert sorted(terms(about(tenant, ("same",), ("same",)))) == sorted(
        [token_term("same"), subject_term("same")]
    )


async def test_events_that_share_a_transaction_keep_their_own_keys(
    database: Database, tenant: str, superuser: psycopg.Connection[Any]
) -> None:
    made = [about(tenant, tokens, subjects) for tokens, subjects in _MIXED]
    observer = Counted()
    store = PostgresTokenStore(database, observer)
    await asyncio.gather(*(store.append(each) for each in made))
    assert max(observer.groups) >= len(made) - 1
    for each in made:
        assert superuser.execute(
            "SELECT terms FROM strongroom.audit_events WHERE id = %s", [each.id]
        ).fetchone() == (terms(each),)


async def test_events_of_many_months(
    store: PostgresTokenStore, reader: PostgresAuditReader, tenant: str
) -> None:
    """In whatever partition they are, and in the order in which they were recorded: a
    clock that went back, years that have no partition."""
    now = datetime.now(UTC)
    days = (0, 31, -400, 62, -31, 4000, 93)
    events = [
        about(tenant, ("t1",), ("s1",), occurred_at=now + timedelta(days=each)) for each in days
    ]
    for each in events:
        await store.append(each)
    newest_first = [each.id for each in reversed(events)]
    for about_it in ({}, {"token": "t1"}, {"subject": "s1"}, {"principal": "checkout"}):
        named: dict[str, Any] = about_it
        assert await ids(reader, AuditQuery(tenant, 100, **named)) == newest_first
        assert await ids(reader, AuditQuery(tenant, 3, **named)) == newest_first[:3]
        since, until = now - timedelta(days=31), now + timedelta(days=62)
        within = [events[n].id for n in (4, 1, 0)]
        query = AuditQuery(tenant, 100, since=since, until=until, **named)
        assert await ids(reader, query) == within
