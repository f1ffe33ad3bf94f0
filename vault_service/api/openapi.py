"""The OpenAPI document, made from the message types and the table of routes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from vault_service import __version__
from vault_service.api.endpoint import Endpoint
from vault_service.api.health import ReadyAnswer
from vault_service.api.problems import Problem
from vault_service.domain.access import Action
from vault_service.domain.columns import MEDIA_TYPE as ARROW
from vault_service.domain.metadata import MAX_TAGS, MAX_TEXT
from vault_service.domain.report_failures import FailureCode
from vault_service.domain.report_parts import MAX_PARTS
from vault_service.services.items import MAX_ITEMS
from vault_service.services.read_audit import MAX_LIMIT
from vault_service.services.report_reads import MAX_AMONG, MAX_SUBJECTS
from vault_service.services.tokenize_groups import MAX_EXPIRES_IN

_PLACES: Final = re.compile(r"\{(\w+)\}")
_REF: Final = "#/components/schemas/{name}"
ALWAYS: Final = (400, 401, 413, 429, 500, 503)
"""Statuses that any route may answer with."""
_TEXTS: Final = {
    200: "Done.",
    201: "Done; it is new.",
    204: "Done; no content.",
    207: "Some items failed; each says how it ended.",
    400: "The request is malformed.",
    401: "No valid credential.",
    403: "The policies do not allow it.",
    404: "There is no such thing, or not for this tenant.",
    405: "The method is not known here.",
    409: "A request with this Idempotency-Key, or another process, is still at work.",
    410: "The token has expired or its value was erased.",
    413: "Too large, or too many items.",
    422: "A value or the request breaks a rule.",
    429: "A reveal budget is used up, or too many failed attempts; see Retry-After.",
    500: "The vault failed.",
    503: "A key, the audit log or the database is unavailable; see Retry-After.",
}

# What the use cases check beyond the types, by schema and property. Rules of values and
# of texts kept in clear are in no schema: errors name them.
_COUNT: Final = {"minItems": 1, "maxItems": MAX_ITEMS}
_TEXT: Final = {"minLength": 1, "maxLength": MAX_TEXT}
_HOLDER: Final = {"pattern": "^[A-Za-z0-9_-]{8,64}$"}
_PART: Final = {"minimum": 1, "maximum": MAX_PARTS}
_NUMBERS: Final = {
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
    "part": {"type": "integer", **_PART},
}
_REASON: Final = {"enum": [reason.value for reason in FailureCode]}
_LIMITS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "TokenizeBody": {"items": _COUNT, "mode": {"enum": ["partial", "atomic"]}},
    "TokenizeItem": {
        "data_class": {"minLength": 1},
        "value": {"minLength": 1},
        "reference": _TEXT,
        "subject": _TEXT,
        "tags": {"maxProperties": MAX_TAGS},
        "expires_in": {"minimum": 1, "maximum": MAX_EXPIRES_IN},
    },
    "DetokenizeBody": {"items": _COUNT, "purpose": _TEXT, "case": _TEXT},
    "DetokenizeItem": {"token": _TEXT, "reference": _TEXT},
    "LookupBody": {"data_class": {"minLength": 1}, "value": {"minLength": 1}},
    "ExplainBody": {
        "action": {"enum": [action.value for action in Action]},
        "purpose": _TEXT,
        "tags": {"maxProperties": MAX_TAGS},
        "item_count": {"minimum": 1, "maximum": MAX_ITEMS},
    },
    "RunBody": {"row_cap": {"minimum": 1}},
    "StartBody": {"holder": _HOLDER},
    "HeartbeatBody": {"holder": _HOLDER, "part": _PART},
    "RunTokensBody": {
        "data_class": _TEXT,
        "subjects": {"minItems": 1, "maxItems": MAX_SUBJECTS},
        "among": {"minItems": 1, "maxItems": MAX_AMONG},
        "part": _PART,
    },
    "ReleaseBody": {"holder": _HOLDER, "reason": _REASON, "part": _PART},
    "SplitBody": {"holder": _HOLDER},
    "ResultBody": {
        "holder": _HOLDER,
        "rows": {"minimum": 0},
        "output_bytes": {"minimum": 0},
        "part": _PART,
    },
    "FailBody": {"holder": _HOLDER, "reason": _REASON, "part": _PART},
}


@dataclass(frozen=True, slots=True)
class Operation:
    """What the document says of a route beyond its endpoint. ``text`` is the media type of
    an answer that is not JSON."""

    endpoint: Endpoint
    summary: str
    statuses: tuple[int, ...]
    request: type | None = None
    answer: type | None = None
    text: str | None = None
    arrow: bool = False
    idempotent: bool = False


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    kinds: list[Any] = [Problem, ReadyAnswer]
    kinds += [kind for o in operations for kind in (o.request, o.answer) if kind is not None]
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_REF)
    _limit(schemas)
    paths: dict[str, Any] = {}
    for operation in operations:
        path = paths.setdefault(operation.endpoint.route, {})
        path[operation.endpoint.method.lower()] = _operation(operation)
    paths["/healthz"] = {"get": _public("Liveness", {"200": {"description": "It lives."}})}
    paths["/readyz"] = {
        "get": _public(
            "Readiness",
            {
                "200": _content("Requests can be served.", ReadyAnswer),
                "503": _content("Something is away.", ReadyAnswer),
            },
        )
    }
    paths["/metrics"] = {
        "get": _public("Prometheus metrics", {"200": {"description": "The metrics page."}})
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Strongroom",
            "version": __version__,
            "description": "A self-hosted, privacy-isolated vault for card and personal data.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key (srk_…), an OIDC token, or sts. and a presigned"
                    " GetCallerIdentity URL in base64url.",
                }
            },
        },
        "security": [{"bearer": []}],
    }


def _limit(schemas: dict[str, Any]) -> None:
    """Write the limits into the schemas; ``null``, where it is taken, has none."""
    for kind, properties in _LIMITS.items():
        for name, limits in properties.items():
            place = schemas[kind]["properties"][name]
            place.get("anyOf", [place])[0].update(limits)
    # A purpose may be missing as far as the types go, so that its absence has a code
    # of its own.
    detokenize = schemas["DetokenizeBody"]
    detokenize["properties"]["purpose"] = {"type": "string", **_TEXT}
    detokenize["required"] = ["items", "purpose"]
    schemas["Problem"]["properties"]["items"] = {"type": "array", "items": {"type": "object"}}


def _operation(operation: Operation) -> dict[str, Any]:
    endpoint = operation.endpoint
    found: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": endpoint.handler.__name__ + "_" + endpoint.method.lower(),
        "parameters": _parameters(operation),
        "responses": {str(status): _response(operation, status) for status in operation.statuses},
    }
    if operation.request is not None:
        content: dict[str, Any] = {"application/json": {"schema": _schema(operation.request)}}
        if operation.arrow:
            content[ARROW] = {"schema": {"type": "string", "contentMediaType": ARROW}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _response(operation: Operation, status: int) -> dict[str, Any]:
    if status >= 400:
        return _content(_TEXTS[status], Problem, "application/problem+json")
    if operation.text is not None:
        content = {operation.text: {"schema": {"type": "string"}}}
        return {"description": _TEXTS[status], "content": content}
    if operation.answer is None or status == 204:
        return {"description": _TEXTS[status]}
    found = _content(_TEXTS[status], operation.answer)
    if operation.arrow:
        found["content"][ARROW] = {"schema": {"type": "string", "contentMediaType": ARROW}}
    return found


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    endpoint = operation.endpoint
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": _NUMBERS.get(name, {"type": "string", **_TEXT}),
        }
        for name in sorted(endpoint.parameters)
    ]
    found += [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", **_TEXT},
        }
        for name in _PLACES.findall(endpoint.route)
    ]
    if operation.idempotent:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "minLength": 1, "maxLength": 256},
            }
        )
    return found


def _public(summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "security": [], "responses": responses}


def _content(text: str, kind: type, media_type: str = "application/json") -> dict[str, Any]:
    return {"description": text, "content": {media_type: {"schema": _schema(kind)}}}


def _schema(kind: type) -> dict[str, str]:
    return {"$ref": _REF.format(name=kind.__name__)}
