"""One request from its arrival to its answer: limits, identity, handler, errors.

An :class:`Endpoint` is an ASGI application for one route. The order is fixed: request
id, authentication, size limit, body, handler; whatever goes wrong becomes one problem
document, is counted, and, where a principal was known, is in the audit log before the
answer leaves. Nothing of the path, query or body is ever logged.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Final

import structlog
from starlette.types import Receive, Scope, Send

from vault_service.api.application import Application
from vault_service.api.limits import (
    read_body,
    read_query,
    refuse_repeats,
    request_id_of,
    run_of,
)
from vault_service.api.problems import MEDIA_TYPE, problem
from vault_service.api.wire import malformed
from vault_service.domain.access import Action
from vault_service.domain.credentials import AuthenticationFailed
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.principals import Principal, PrincipalType
from vault_service.services.context import RequestContext

JSON: Final = b"application/json"
_log = structlog.get_logger("strongroom.api")
# Failures of the vault itself: the log that would record them is what failed.
_NOT_RECORDABLE: Final = frozenset({Code.AUDIT_UNAVAILABLE, Code.DATABASE_UNAVAILABLE})


@dataclass(slots=True)
class Call:
    """What a handler gets. ``context`` is ``None`` on public routes alone. Header names
    are in lower case."""

    application: Application
    context: RequestContext
    headers: Mapping[bytes, bytes]
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes = field(repr=False)

    def header(self, name: bytes) -> str | None:
        """A header's text, if it was sent."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def check_media_type(self, other: bytes | None = None) -> bool:
        """Whether the body is of the media type ``other``, if one is given, else JSON;
        ``invalid_request`` for anything else."""
        found = self.headers.get(b"content-type", JSON).split(b";")[0].strip().lower()
        if found == other:
            return True
        if found == JSON or found.endswith(b"+json"):
            return False
        raise malformed(
            "media_type",
            "Send application/json, or Arrow where the route takes it.",
            "Content-Type",
        )


@dataclass(slots=True)
class Answer:
    """What a handler gives back. ``rest`` is what comes after ``body``, piece by piece."""

    body: bytes = field(default=b"", repr=False)
    status: int = 200
    media_type: bytes = JSON
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    rest: AsyncGenerator[bytes, None] | None = None


Handler = Callable[[Call], Awaitable[Answer]]


class Endpoint:
    """One route. ``action`` names it in the audit log where a request fails before a use
    case could record it; ``None`` for routes that are not recorded."""

    def __init__(
        self,
        handler: Handler,
        *,
        route: str,
        method: str,
        action: Action | str | None = None,
        parameters: frozenset[str] = frozenset(),
    ) -> None:
        self.handler = handler
        self.route = route
        self.method = method
        self.action = action
        self.parameters = parameters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started = time.perf_counter()
        application: Application = scope["app"].state.application
        headers = dict(scope["headers"])
        request_id = request_id_of(headers.get(b"x-request-id"))
        structlog.contextvars.bind_contextvars(request_id=request_id)
        context: RequestContext | None = None
        try:
            if len(headers) != len(scope["headers"]):
                refuse_repeats(scope["headers"])
            principal = await self._authenticate(application, headers, scope, request_id)
            try:
                body = await read_body(headers, receive)
            finally:
                # Taken up when it is there: however slowly a caller sends, events stay in order
                # and nothing is decided by an old time.
                context = RequestContext(principal, request_id, application.clock())
            if principal.type is PrincipalType.JOB:
                context = replace(context, run=run_of(headers))
            query = read_query(scope["query_string"], self.parameters)
            call = Call(application, context, headers, scope["path_params"], query, body)
            answer = await self.handler(call)
        except VaultError as error:
            answer = await self._failed(application, context, request_id, error)
        except Exception as error:  # noqa: BLE001  # the last line: nothing may escape it
            answer = await self._broken(application, context, request_id, error)
        if answer.rest is None:
            await _send(send, answer, request_id)
        else:
            await _stream(receive, send, answer, answer.rest, request_id)
        seconds = time.perf_counter() - started
        application.observer.request(self.route, self.method, answer.status, seconds)

    async def _authenticate(
        self,
        application: Application,
        headers: Mapping[bytes, bytes],
        scope: Scope,
        request_id: str,
    ) -> Principal:
        authorization = headers.get(b"authorization")
        text = None if authorization is None else authorization.decode("latin-1")
        if text is not None:
            principal = application.authenticator.cached(text)
            if principal is not None:
                return principal
        client = scope.get("client")
        source = client[0] if client else "unknown"
        try:
            return await application.authenticator.authenticate(text, source)
        except AuthenticationFailed as error:
            application.observer.authentication_failed(error.method)
            if error.counted:
                # PCI-DSS 10.2.1.4
                event = application.recorder.system_event(
                    "authenticate",
                    principal=None,
                    request_id=request_id,
                    code=error.code,
                    detail={
                        "reason": error.reason,
                        "method": error.method,
                        "source": source,
                        **({} if error.key_id is None else {"key_id": error.key_id}),
                    },
                )
                await application.store.append(event)
                error.event_id = event.id
            raise

    async def _failed(
        self,
        application: Application,
        context: RequestContext | None,
        request_id: str,
        error: VaultError,
    ) -> Answer:
        if (
            context is not None
            and self.action is not None
            and error.event_id is None
            and error.code not in _NOT_RECORDABLE
        ):
            event = application.recorder.refusal(context, self.action, error)
            try:
                await application.store.append(event)
                error.event_id = event.id
            except VaultError as unrecorded:
                error = unrecorded
        status, body, headers = problem(error, request_id)
        return Answer(body, status, MEDIA_TYPE, headers)

    async def _broken(
        self,
        application: Application,
        context: RequestContext | None,
        request_id: str,
        error: Exception,
    ) -> Answer:
        """An error that nobody foresaw: logged by type and place, told as ``internal``."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        _log.error(
            "unexpected_error",
            error_class=type(error).__name__,
            module=None if trace is None else trace.tb_frame.f_globals.get("__name__"),
            line=None if trace is None else trace.tb_lineno,
        )
        opaque = VaultError(Code.INTERNAL, "The vault failed; the request id finds it in the log.")
        return await self._failed(application, context, request_id, opaque)


async def _send(send: Send, answer: Answer, request_id: str) -> None:
    length = (b"content-length", str(len(answer.body)).encode())
    await send(_start(answer, request_id, length))
    await send({"type": "http.response.body", "body": answer.body})


async def _stream(
    receive: Receive,
    send: Send,
    answer: Answer,
    rest: AsyncGenerator[bytes, None],
    request_id: str,
) -> None:
    """Send an answer piece by piece, until its end or until the caller has gone. Where it
    breaks off, its last piece is never sent, and the connection ends in the middle."""
    gone = asyncio.ensure_future(receive())
    try:
        async with aclosing(rest):
            await send(_start(answer, request_id))
            await send({"type": "http.response.body", "body": answer.body, "more_body": True})
            async for piece in rest:
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    except VaultError as error:
        _log.error("answer_broken_off", code=error.code.value)
    except Exception as error:  # noqa: BLE001  # as for the whole request
        _log.error("answer_broken_off", error_class=type(error).__name__)
    finally:
        gone.cancel()


def _start(answer: Answer, request_id: str, *more: tuple[bytes, bytes]) -> dict[str, Any]:
    return {
        "type": "http.response.start",
        "status": answer.status,
        "headers": [
            (b"content-type", answer.media_type),
            *more,
            (b"x-request-id", request_id.encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            *answer.headers,
        ],
    }
