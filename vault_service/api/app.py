"""The web application: the table of routes, and what answers where there is none.

Routes are ASGI endpoints on FastAPI's router, which brings the OpenAPI pages and the
telemetry hooks; message types are msgspec's, twice as fast as pydantic's and silent
about their input.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from vault_service import __version__
from vault_service.api import (
    audit,
    health,
    policy,
    report_routes,
    subjects,
    tokenization,
    tokens,
    transparency,
)
from vault_service.api.endpoint import Endpoint
from vault_service.api.limits import request_id_of
from vault_service.api.openapi import ALWAYS, Operation, document
from vault_service.api.problems import MEDIA_TYPE, problem
from vault_service.api.wire import DetokenizeBody, ExplainBody, LookupBody, TokenizeBody
from vault_service.domain.access import Action
from vault_service.domain.errors import Code, VaultError

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, Any] | None]]

_NO_TELEMETRY: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False}
_BATCH: Final = (200, 207, *ALWAYS, 403, 422)

OPERATIONS: Final = (
    Operation(
        Endpoint(
            tokenization.tokenize, route="/v1/tokenize", method="POST", action=Action.TOKENIZE
        ),
        "Exchange values for tokens",
        (*_BATCH, 409),
        TokenizeBody,
        tokenization.TokenizeAnswer,
        arrow=True,
        idempotent=True,
    ),
    Operation(
        Endpoint(
            tokenization.detokenize,
            route="/v1/detokenize",
            method="POST",
            action=Action.DETOKENIZE,
        ),
        "Reveal the values of tokens, in the form that policy allows",
        (*_BATCH, 404, 410),
        DetokenizeBody,
        tokenization.DetokenizeAnswer,
        arrow=True,
    ),
    Operation(
        Endpoint(tokenization.lookup, route="/v1/lookup", method="POST", action=Action.LOOKUP),
        "Find the token of a value, if it is stored",
        (200, *ALWAYS, 403, 422),
        LookupBody,
        tokenization.LookupAnswer,
    ),
    Operation(
        Endpoint(
            tokens.describe,
            route="/v1/tokens/{token}",
            method="GET",
            action=Action.DESCRIBE_TOKEN,
        ),
        "Metadata of a token, without its value",
        (200, *ALWAYS, 403, 404, 422),
        answer=tokens.TokenAnswer,
    ),
    Operation(
        Endpoint(
            tokens.delete,
            route="/v1/tokens/{token}",
            method="DELETE",
            action=Action.DELETE_TOKEN,
        ),
        "Delete a token and its value for good",
        (204, *ALWAYS, 403, 404, 422),
    ),
    Operation(
        Endpoint(policy.catalog, route="/v1/catalog", method="GET"),
        "Data classes with tags and forms, and purposes",
        (200, *ALWAYS),
        answer=policy.CatalogAnswer,
    ),
    Operation(
        Endpoint(policy.whoami, route="/v1/whoami", method="GET"),
        "Who the vault thinks the caller is",
        (200, *ALWAYS),
        answer=policy.WhoamiAnswer,
    ),
    Operation(
        Endpoint(policy.explain, route="/v1/policy/explain", method="POST"),
        "What the policies would decide, revealing nothing",
        (200, *ALWAYS, 422),
        ExplainBody,
        policy.ExplainAnswer,
    ),
    Operation(
        Endpoint(
            audit.events,
            route="/v1/audit/events",
            method="GET",
            action=Action.READ_AUDIT,
            parameters=audit.PARAMETERS,
        ),
        "The access log of the caller's tenant, newest first",
        (200, *ALWAYS, 403, 422),
        answer=audit.AuditAnswer,
    ),
    Operation(
        Endpoint(transparency.checkpoint, route="/v1/audit/checkpoint", method="GET"),
        "The newest signed checkpoint of the log (C2SP tlog-checkpoint)",
        (200, *ALWAYS, 404),
        text=transparency.TEXT.decode(),
    ),
    Operation(
        Endpoint(transparency.key, route="/v1/audit/key", method="GET"),
        "The key that checkpoints are verified with (C2SP signed-note)",
        (200, *ALWAYS),
        text=transparency.TEXT.decode(),
    ),
    Operation(
        Endpoint(
            transparency.proof,
            route="/v1/audit/events/{id}/proof",
            method="GET",
            action=Action.READ_AUDIT,
        ),
        "The receipt of an event, which verifies alone (C2SP tlog-proof)",
        (200, *ALWAYS, 404, 422),
        text=transparency.TEXT.decode(),
    ),
    Operation(
        Endpoint(
            transparency.export,
            route="/v1/audit/export",
            method="GET",
            action=Action.READ_AUDIT,
            parameters=transparency.EXPORT_PARAMETERS,
        ),
        "A stretch of the log that verifies offline, as newline-delimited JSON",
        (200, *ALWAYS, 403, 404, 422),
        text=transparency.NDJSON.decode(),
    ),
    Operation(
        Endpoint(
            subjects.timeline,
            route="/v1/subjects/{id}/timeline",
            method="GET",
            action=Action.READ_AUDIT,
            parameters=subjects.PARAMETERS,
        ),
        "Who handled a person's data, when, why and by which policy, newest first",
        (200, *ALWAYS, 403, 422),
        answer=subjects.TimelineAnswer,
    ),
    *report_routes.OPERATIONS,
)


class VaultApp(FastAPI):
    """FastAPI, with a short way in for routes of a fixed path.

    Seven layers of middleware stand between the server and a route, and none of them
    does anything for an :class:`Endpoint`, which meets every error and limit itself. On
    a single-item request they are a third of the work, so it goes around them, unless
    tracing, which hooks in there, is on.
    """

    def __init__(self, *, traced: bool, **options: Any) -> None:
        super().__init__(**options)
        self._direct: dict[tuple[str, str], Endpoint] = {}
        if not traced:
            self._direct = {(o.endpoint.method, o.endpoint.route): o.endpoint for o in OPERATIONS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] == "http":
            endpoint = self._direct.get((scope["method"], scope["path"]))
            if endpoint is not None:
                scope["app"] = self
                scope["path_params"] = {}
                await endpoint(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


def create_app(
    lifespan: Lifespan, *, docs: bool, telemetry: TelemetryConfig | None = None
) -> FastAPI:
    """The application. ``lifespan`` must set ``app.state.application`` to an
    :class:`~vault_service.api.application.Application`; ``telemetry`` are FastAPI's
    tracing options, ``None`` for no tracing."""
    app = VaultApp(
        traced=telemetry is not None,
        title="Strongroom",
        version=__version__,
        lifespan=lifespan,
        openapi_url="/openapi.json" if docs else None,
        docs_url="/docs" if docs else None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=telemetry or _NO_TELEMETRY,
    )
    for operation in OPERATIONS:
        endpoint = operation.endpoint
        app.router.routes.append(Route(endpoint.route, endpoint, methods=[endpoint.method]))
    for path, handler in (
        ("/healthz", health.healthz),
        ("/readyz", health.readyz),
        ("/metrics", health.metrics),
    ):
        app.router.routes.append(Route(path, handler, methods=["GET"]))
    app.add_exception_handler(HTTPException, _no_route)
    description = document(OPERATIONS)
    app.openapi = lambda: description  # type: ignore[method-assign]
    return app


async def _no_route(request: Request, error: Exception) -> Response:
    """No such path, or no such method there; told without repeating either."""
    assert isinstance(error, HTTPException)
    request_id = request_id_of(dict(request.scope["headers"]).get(b"x-request-id"))
    headers = {"x-request-id": request_id}
    if error.status_code == 405:
        headers["allow"] = _allowed(request)
        failure = VaultError(Code.INVALID_REQUEST, "The method is not known here; see Allow.")
    else:
        failure = VaultError(Code.NOT_FOUND, "There is no such route.")
    status, body, _ = problem(failure, request_id, status=error.status_code)
    return Response(
        body,
        status,
        headers=headers,
        media_type=MEDIA_TYPE.decode(),
    )


def _allowed(request: Request) -> str:
    """The methods of every route with this path (RFC 9110 15.5.6); the router itself
    tells those of the first alone."""
    methods: set[str] = set()
    for route in request.app.router.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return ", ".join(sorted(methods))
