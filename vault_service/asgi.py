"""The ASGI entry: ``uvicorn --factory vault_service.asgi:create``. One per worker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from vault_service.api.app import create_app
from vault_service.bootstrap import configure_logging, housekeeping, open_services, traces
from vault_service.settings import Settings, load


def create(settings: Settings | None = None) -> FastAPI:
    """The application on the settings of the environment."""
    configure_logging()
    used = load() if settings is None else settings
    tracing = traces(used)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(used) as services, housekeeping(services):
            app.state.application = services.application
            yield
        tracing.close()

    traced = tracing.config if used.otlp_endpoint else None
    return create_app(lifespan, docs=used.docs, telemetry=traced)
