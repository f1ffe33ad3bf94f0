"""The ASGI entry: ``uvicorn --factory vault_service.asgi:create``. One per worker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from vault_service.api.app import create_app
from vault_service.bootstrap import housekeeping, open_services, telemetry_options
from vault_service.settings import Settings, load


def create(settings: Settings | None = None) -> FastAPI:
    """The application on the settings of the environment."""
    used = load() if settings is None else settings

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(used) as services, housekeeping(services):
            app.state.application = services.application
            yield

    return create_app(lifespan, docs=used.docs, telemetry=telemetry_options())
