"""``/healthz``, ``/readyz`` and ``/metrics``: open to the network the service is in,
and without anything that is worth knowing outside it."""

import asyncio
import time
from datetime import timedelta

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from vault_service.api.application import Application, Check
from vault_service.domain.errors import VaultError
from vault_service.draining import STATE, Drain
from vault_service.services.sealing import ALARMING

_CHECK_SECONDS = 3.0
_encode = msgspec.json.Encoder().encode


class ReadyAnswer(msgspec.Struct):
    """The answer of ``GET /readyz``: ``ready``, ``not ready`` or ``draining``; each check by
    name, ``ok`` or an error code; the age in seconds of the oldest event that is not sealed,
    where it can be told, and whether that is alarming. An alarm is for people: requests are
    served all the same. So they are while it drains, but no check is made."""

    status: str
    checks: dict[str, str]
    unsealed_seconds: float | None
    unsealed_alarm: bool


async def healthz(request: Request) -> Response:
    """The process lives and answers."""
    return Response(b'{"status":"ok"}', media_type="application/json")


async def readyz(request: Request) -> Response:
    """Whether requests can be served now, and may be sent: database, keys, policies, audit."""
    application: Application = request.app.state.application
    started = time.perf_counter()
    drain: Drain | None = request.scope["state"].get(STATE)
    if drain is not None and drain.begun:
        application.observer.request("/readyz", "GET", 503, time.perf_counter() - started)
        leaving = ReadyAnswer("draining", {}, None, False)
        return Response(_encode(leaving), 503, media_type="application/json")
    names = list(application.readiness)
    found, unsealed = await asyncio.gather(
        asyncio.gather(*(_run(application.readiness[name]) for name in names)),
        _unsealed(application),
    )
    ready = all(result == "ok" for result in found)
    body = ReadyAnswer(
        "ready" if ready else "not ready",
        dict(zip(names, found, strict=True)),
        None if unsealed is None else unsealed.total_seconds(),
        unsealed is not None and unsealed > ALARMING,
    )
    status = 200 if ready else 503
    application.observer.request("/readyz", "GET", status, time.perf_counter() - started)
    return Response(_encode(body), status, media_type="application/json")


async def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    application: Application = request.app.state.application
    body, media_type = application.observer.render()
    return Response(body, media_type=media_type)


async def _unsealed(application: Application) -> timedelta | None:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            return await application.unsealed()
    except (VaultError, TimeoutError):
        return None


async def _run(check: Check) -> str:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except VaultError as error:
        return error.code.value
    except TimeoutError:
        return "timeout"
    return "ok"
