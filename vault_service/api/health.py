"""``/healthz``, ``/readyz`` and ``/metrics``: open to the network the service is in,
and without anything that is worth knowing outside it."""

import asyncio
import time

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from vault_service.api.application import Application, Check
from vault_service.domain.errors import VaultError

_CHECK_SECONDS = 3.0
_encode = msgspec.json.Encoder().encode


class ReadyAnswer(msgspec.Struct):
    """The answer of ``GET /readyz``: each check by name, ``ok`` or an error code."""

    status: str
    checks: dict[str, str]


async def healthz(request: Request) -> Response:
    """The process lives and answers."""
    return Response(b'{"status":"ok"}', media_type="application/json")


async def readyz(request: Request) -> Response:
    """Whether requests can be served now: database, keys, policies, audit."""
    application: Application = request.app.state.application
    started = time.perf_counter()
    names = list(application.readiness)
    found = await asyncio.gather(*(_run(application.readiness[name]) for name in names))
    ready = all(result == "ok" for result in found)
    body = ReadyAnswer("ready" if ready else "not ready", dict(zip(names, found, strict=True)))
    status = 200 if ready else 503
    application.observer.request("/readyz", "GET", status, time.perf_counter() - started)
    return Response(_encode(body), status, media_type="application/json")


async def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    application: Application = request.app.state.application
    body, media_type = application.observer.render()
    return Response(body, media_type=media_type)


async def _run(check: Check) -> str:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except VaultError as error:
        return error.code.value
    except TimeoutError:
        return "timeout"
    return "ok"
