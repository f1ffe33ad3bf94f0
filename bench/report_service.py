"""The service with the report of ``bench/contacts``: ``python -m bench.report_service``."""

import os

import uvicorn
from fastapi import FastAPI

from bench.added_report import add_report
from vault_service import asgi
from vault_service.cli.protocol import BoundedProtocol


def create() -> FastAPI:
    """The application, one a worker."""
    add_report()
    return asgi.create()


if __name__ == "__main__":
    uvicorn.run(
        "bench.report_service:create",
        factory=True,
        host="127.0.0.1",
        port=int(os.environ["STRONGROOM_PORT"]),
        workers=int(os.environ["STRONGROOM_WORKERS"]),
        loop="uvloop",
        http=BoundedProtocol,
        access_log=False,
        log_config=None,
        timeout_worker_healthcheck=60,
    )
