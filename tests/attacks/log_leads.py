"""What the sealer does with a log when it leads the next time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from structlog.testing import capture_logs

from tests.attacks.log_copies import Copy
from tests.serving import run
from vault_service.bootstrap import Services, open_services
from vault_service.housekeeping import housekeeping
from vault_service.settings import load

_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Led:
    """Whether the sealer ``signed`` new events, or said that the log is ``broken``: by its
    metric, and in which kinds of ``lines``
    in the service's log."""

    signed: bool
    broken: bool
    lines: set[str]


def record(copy: Copy, count: int) -> None:
    """Let the copy's service record events, of operators, without sealing them."""

    async def append() -> None:
        async with open_services(load(copy.server.settings())) as services:
            for _ in range(count):
                await _record(services)

    run(append())


def lead(copy: Copy, meanwhile: Callable[[], None] | None = None) -> Led:
    """Let the copy's sealer lead until it has signed a new event or said that the log is
    broken; with ``meanwhile``, what it makes of the next event after it had signed one and
    that was done beneath it."""

    async def told() -> tuple[bool, bool]:
        settings = load(copy.server.settings())
        async with open_services(settings) as services, housekeeping(services):
            before = await _decided(copy, services)
            if meanwhile is not None:
                assert copy.checkpoint_sizes() != before, "it leads, and has signed"
                meanwhile()
                before = await _decided(copy, services)
            return copy.checkpoint_sizes() != before, _broken(services)

    with capture_logs() as captured:
        signed, broken = run(told())
    lines = {line["event"] for line in captured if line["log_level"] == "critical"}
    return Led(signed, broken, lines)


async def _decided(copy: Copy, services: Services) -> list[int]:
    """Wait until the sealer made up its mind about a new event; what was signed before."""
    before = copy.checkpoint_sizes()
    await _record(services)
    deadline = asyncio.get_running_loop().time() + _SECONDS
    while not _broken(services):
        newest = await services.log.reader.newest_checkpoint()
        size = await services.log.reader.size()
        await services.log.reader.want(size)
        if newest is not None and newest.size == size not in before:
            break
        assert asyncio.get_running_loop().time() < deadline, "it did neither"
        await asyncio.sleep(0.02)
    return before


async def _record(services: Services) -> None:
    event = services.recorder.system_event("list_principals", tenant="main")
    await services.application.store.append(event)


def _broken(services: Services) -> bool:
    page, _ = services.metrics.render()
    return b"\nstrongroom_audit_log_broken 1.0\n" in page
