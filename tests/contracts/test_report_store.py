"""What the store of runs and approvals promises, in memory and in PostgreSQL."""

import asyncio
import uuid
from dataclasses import replace

import pytest

from tests.contracts.conftest import AT, DAY, Kept
from vault_service.domain.report_ports import RunQuery
from vault_service.domain.report_runs import NEXT, RunState
from vault_service.domain.reports import Format


async def test_a_run_is_found_as_it_was_added(kept: Kept) -> None:
    run = kept.run(first_event="evt_1", order="order", approver="lead", approved_at=AT)
    assert await kept.store.add(run, [kept.event("asked")], None) == run
    assert await kept.store.find(kept.tenant, run.id) == run
    assert await kept.store.find("another", run.id) is None
    assert await kept.recorded() == ["asked"]


async def test_the_same_run_is_added_once(kept: Kept) -> None:
    """Twenty times, so that prepared statements are met too; nothing more is recorded."""
    first = await kept.added()
    for _ in range(20):
        assert (await kept.added(row_cap=5, requester="another")).id == first.id
    for fields in (
        {"parameters": "{}"},
        {"period": "2026"},
        {"format": Format.PDF},
        {"recipient": "rsa:01"},
        {"report": "pci_inventory"},
        {"tenant": f"tenant_{uuid.uuid4().hex}"},
    ):
        assert (await kept.store.add(kept.run(**fields), [], None)).id != first.id
    assert await kept.recorded() == ["asked"]


async def test_the_same_run_at_once_is_added_once(kept: Kept) -> None:
    runs = await asyncio.gather(*(kept.added() for _ in range(12)))
    assert len({run.id for run in runs}) == 1
    assert await kept.recorded() == ["asked"]


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.EXPIRED, RunState.REJECTED])
async def test_a_bad_end_makes_room(kept: Kept, state: RunState) -> None:
    first = await kept.added()
    await kept.moved(first, state)
    assert (await kept.added()).id != first.id


@pytest.mark.parametrize("before", list(RunState))
@pytest.mark.parametrize("after", list(RunState))
async def test_only_known_steps_are_taken(kept: Kept, before: RunState, after: RunState) -> None:
    run = await kept.store.add(kept.run(state=before), [], None)
    changed = replace(run, state=after)
    if after in NEXT.get(before, ()) or before is after is RunState.RUNNING:
        assert await kept.store.change(run, changed, [kept.event("moved")])
        assert await kept.recorded() == ["moved"]
    else:
        with pytest.raises(ValueError, match="a run cannot go"):
            await kept.store.change(run, changed, [kept.event("moved")])
        assert await kept.recorded() == []


async def test_a_change_is_made_once(kept: Kept) -> None:
    """Of those who decided on the same state, one writes; the others record nothing."""
    run = await kept.added()
    made = await asyncio.gather(
        *(
            kept.store.change(
                run,
                replace(run, state=RunState.RUNNING, lease_holder=f"holder-{number}"),
                [kept.event("started")],
            )
            for number in range(8)
        )
    )
    assert made.count(True) == 1
    assert await kept.recorded() == ["asked", "started"]
    found = await kept.store.find(kept.tenant, run.id)
    assert found is not None
    assert (found.version, found.lease_holder) == (1, f"holder-{made.index(True)}")


async def test_what_a_run_binds_is_never_written_again(kept: Kept) -> None:
    run = await kept.added()
    forged = replace(run, state=RunState.APPROVED, manifest="m", rows=3)
    assert await kept.store.change(run, forged, [])
    found = await kept.store.find(kept.tenant, run.id)
    assert found is not None
    assert (found.manifest, found.rows, found.binding()) == ("m", 3, run.binding())


async def test_a_lease_is_extended_by_its_holder_alone(kept: Kept) -> None:
    run = await kept.added()
    assert not await kept.store.extend(kept.tenant, run.id, "one", AT)
    await kept.moved(run, RunState.RUNNING, lease_holder="one", lease_until=AT)
    assert not await kept.store.extend(kept.tenant, run.id, "other", AT + DAY)
    assert await kept.store.extend(kept.tenant, run.id, "one", AT + DAY)
    found = await kept.store.find(kept.tenant, run.id)
    assert found is not None
    assert found.lease_until == AT + DAY


async def test_reads_are_counted_once_and_up_to_the_cap(kept: Kept) -> None:
    run = await kept.added()
    count = kept.store.count_read
    assert not await count(kept.tenant, run.id, b"a", 1, 10)  # it does not run
    run = await kept.moved(run, RunState.RUNNING)
    assert await count(kept.tenant, run.id, b"a", 6, 10)
    assert await count(kept.tenant, run.id, b"a", 6, 10)
    assert not await count(kept.tenant, run.id, b"b", 5, 10)
    assert await count(kept.tenant, run.id, b"c", 4, 10)
    assert not await count("another", run.id, b"d", 0, 10)
    found = await kept.store.find(kept.tenant, run.id)
    assert found is not None
    assert found.revealed == 10


async def test_reads_at_once_are_counted_once(kept: Kept) -> None:
    run = await kept.moved(await kept.added(), RunState.RUNNING)
    ends = await asyncio.gather(
        *(kept.store.count_read(kept.tenant, run.id, bytes([n % 8]), 1, 5) for n in range(16))
    )
    found = await kept.store.find(kept.tenant, run.id)
    assert found is not None
    assert found.revealed == 5
    assert ends.count(True) == 10  # five of eight, each twice


async def test_runs_are_listed_newest_first_for_those_who_may_see_them(kept: Kept) -> None:
    runs = [await kept.added(period=str(number)) for number in range(5)]
    other = await kept.added(report="pci_inventory", requester="somebody")
    runs.sort(key=lambda run: run.id, reverse=True)

    async def listed(
        principal: str = "x", reports: tuple[str, ...] = (), **fields: object
    ) -> list[str]:
        query = RunQuery(kept.tenant, 100, frozenset(reports), principal)
        found = await kept.store.list(replace(query, **fields))  # type: ignore[arg-type]
        return [run.id for run in found]

    ids = [run.id for run in runs]
    assert await listed() == []
    assert await listed("officer") == ids
    assert await listed("somebody") == [other.id]
    assert await listed(reports=("access_review",)) == ids
    assert await listed("officer", limit=2) == ids[:2]
    assert await listed("officer", before=ids[1]) == ids[2:]
    assert await listed("officer", report="pci_inventory") == []
    await kept.moved(runs[0], RunState.REJECTED, approver="lead")
    assert await listed("officer", state="rejected") == ids[:1]
    assert await listed("lead") == ids[:1]


async def test_approvals_are_kept_with_what_they_approve(kept: Kept) -> None:
    run = await kept.added()
    assert await kept.store.approval(kept.tenant, run.id) is None
    own, standing = kept.approval(run), kept.approval(run, standing=True)
    approved = replace(run, state=RunState.APPROVED)
    assert await kept.store.change(run, approved, [kept.event("approved")], [own, standing])
    assert await kept.store.approval(kept.tenant, run.id) == own
    assert await kept.store.approval("another", run.id) is None
    assert list(await kept.store.standing(kept.tenant, None, AT)) == [standing]
    assert list(await kept.store.standing(kept.tenant, run.report, AT)) == [standing]
    assert list(await kept.store.standing(kept.tenant, "another", AT)) == []
    assert list(await kept.store.standing("another", None, AT)) == []
    assert list(await kept.store.standing(kept.tenant, None, AT + DAY)) == []


async def test_a_standing_approval_is_withdrawn_once(kept: Kept) -> None:
    run = await kept.added()
    own, standing = kept.approval(run), kept.approval(run, standing=True)
    approved = replace(run, state=RunState.APPROVED)
    assert await kept.store.change(run, approved, [], [own, standing])
    withdraw, event = kept.store.withdraw, kept.event("withdrawn")
    assert not await withdraw(kept.tenant, own.id, AT, event)
    assert not await withdraw("another", standing.id, AT, event)
    assert await withdraw(kept.tenant, standing.id, AT, event)
    assert not await withdraw(kept.tenant, standing.id, AT, event)
    assert list(await kept.store.standing(kept.tenant, None, AT)) == []
    assert (await kept.recorded()).count("withdrawn") == 1
