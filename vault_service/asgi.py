"""The ASGI entry: ``uvicorn --factory vault_service.asgi:create``. One per worker."""

import gc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from vault_service.api.app import create_app
from vault_service.bootstrap import configure_logging, open_services, traces
from vault_service.domain.reports import ReportDefinition
from vault_service.draining import STATE, Drain
from vault_service.housekeeping import housekeeping
from vault_service.settings import Settings, load


def create(
    settings: Settings | None = None,
    definitions: Mapping[str, ReportDefinition] | None = None,
) -> FastAPI:
    """The application on the settings of the environment, with the reports of this release
    unless others are given."""
    configure_logging()
    used = load() if settings is None else settings
    tracing = traces(used)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        drain = Drain(used.drain_seconds)
        async with open_services(used, definitions=definitions) as services, housekeeping(services):
            app.state.application = services.application
            _settle_memory()
            drain.watch()
            yield {STATE: drain}
        tracing.close()

    traced = tracing.config if used.otlp_endpoint else None
    return create_app(lifespan, docs=used.docs, telemetry=traced)


def _settle_memory() -> None:
    """Take what start-up made out of the garbage collector's sight.

    Libraries and policies are hundreds of thousands of objects that live as long as the
    process. Walking them again and again while batches come and go took a third of the
    time of a detokenize.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
