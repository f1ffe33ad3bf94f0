"""What the store of parts promises, in memory and in PostgreSQL."""

import asyncio
from dataclasses import replace

from tests.contracts.conftest import AT, DAY, Kept
from vault_service.domain.report_parts import Part
from vault_service.domain.report_ports import PartChange
from vault_service.domain.report_runs import Run, RunState


async def split(kept: Kept, count: int) -> tuple[Run, list[Part]]:
    """A running run of so many parts."""
    run = await kept.moved(await kept.added(), RunState.RUNNING, lease_holder="one")
    parts = [
        Part(kept.tenant, run.id, number, f"tok_{number}", f"tok_{number + 1}", f"order {number}")
        for number in range(1, count + 1)
    ]
    cut = replace(run, parts=count, lease_holder=None)
    assert await kept.store.change(run, cut, [kept.event("split")], parts=parts)
    return await found(kept, run), parts


async def found(kept: Kept, run: Run) -> Run:
    """The run as it is kept."""
    now = await kept.store.find(kept.tenant, run.id)
    assert now is not None
    return now


def made(part: Part, rows: int) -> Part:
    """The part, done with so many rows."""
    return replace(
        part,
        done=True,
        rows=rows,
        output_sha256=f"{part.number:064}",
        output_bytes=100,
        output_location=f"r/{part.number}.sealed",
    )


async def changed(kept: Kept, before: Part, after: Part, cap: int = 10) -> PartChange:
    return await kept.parts.change_part(
        before, after, [kept.event("changed")], cap=cap, at=AT + DAY
    )


async def test_parts_are_kept_with_their_run(kept: Kept) -> None:
    run, parts = await split(kept, 3)
    assert (run.parts, run.parts_done, run.lease_holder) == (3, 0, None)
    assert list(await kept.parts.parts(kept.tenant, run.id)) == parts
    assert await kept.parts.part(kept.tenant, run.id, 2) == parts[1]
    assert await kept.parts.part(kept.tenant, run.id, 4) is None
    assert await kept.parts.part("another", run.id, 2) is None
    assert await kept.parts.parts("another", run.id) == []


async def test_parts_of_a_run_that_was_changed_meanwhile_are_not_kept(kept: Kept) -> None:
    run = await kept.added()
    await kept.moved(run, RunState.RUNNING)
    part = Part(kept.tenant, run.id, 1, None, None, "order")
    cut = replace(run, state=RunState.RUNNING, parts=1)
    assert not await kept.store.change(run, cut, [], parts=[part])
    assert await kept.parts.parts(kept.tenant, run.id) == []


async def test_a_part_that_is_done_is_counted_once_in_its_run(kept: Kept) -> None:
    run, parts = await split(kept, 2)
    ends = await asyncio.gather(
        *(changed(kept, parts[0], made(parts[0], 4)) for _ in range(6)),
    )
    assert sorted(end.value for end in ends) == ["lost"] * 5 + ["written"]
    now = await found(kept, run)
    assert (now.parts_done, now.rows, now.output_bytes) == (1, 4, 100)
    assert (now.updated_at, now.version) == (AT + DAY, run.version + 1)
    # What is done stays as it is.
    [done, other] = await kept.parts.parts(kept.tenant, run.id)
    assert await changed(kept, done, replace(done, rows=1)) is PartChange.LOST
    assert await changed(kept, other, made(other, 6)) is PartChange.WRITTEN
    assert (await found(kept, run)).rows == 10
    assert (await kept.recorded()).count("changed") == 2


async def test_the_cap_is_that_of_all_parts_together(kept: Kept) -> None:
    run, parts = await split(kept, 8)
    ends = await asyncio.gather(*(changed(kept, part, made(part, 3)) for part in parts))
    assert ends.count(PartChange.WRITTEN) == 3
    assert ends.count(PartChange.OVER) == 5
    now = await found(kept, run)
    assert (now.parts_done, now.rows) == (3, 9)
    assert (await kept.recorded()).count("changed") == 3


async def test_what_is_sealed_and_not_done_counts_against_the_cap_alone(kept: Kept) -> None:
    run, [one, other] = await split(kept, 2)
    sealed = replace(made(one, 7), done=False)
    assert await changed(kept, one, sealed) is PartChange.WRITTEN
    assert (await found(kept, run)).rows is None
    assert await changed(kept, other, made(other, 4)) is PartChange.OVER
    again = await kept.parts.part(kept.tenant, run.id, 1)
    assert again == replace(sealed, version=1)


async def test_a_part_of_a_run_that_has_ended_goes_on_no_more(kept: Kept) -> None:
    run, [part] = await split(kept, 1)
    held = replace(part, lease_holder="one", lease_until=AT)
    assert await changed(kept, part, held) is PartChange.WRITTEN
    held = replace(held, version=1)
    assert await kept.parts.extend_part(held, "one", AT + DAY)
    assert not await kept.parts.extend_part(held, "other", AT + DAY)
    now = await kept.parts.part(kept.tenant, run.id, 1)
    assert now is not None
    assert (now.lease_until, now.leased(AT)) == (AT + DAY, True)
    await kept.moved(await found(kept, run), RunState.FAILED)
    assert not await kept.parts.extend_part(held, "one", AT + DAY)
    assert await changed(kept, held, made(held, 1)) is PartChange.LOST
