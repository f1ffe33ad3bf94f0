"""What a request for a run must be like: parameters by the report's definition, and what
an approval will bind beside them. Nothing that was given is ever in an error."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from vault_service.domain.detection import looks_like_card_number
from vault_service.domain.errors import Code, FieldError, VaultError
from vault_service.domain.metadata import check_text
from vault_service.domain.reports import (
    INPUT_NAME,
    Format,
    Parameter,
    ParameterType,
    ReportDefinition,
)
from vault_service.domain.tokens import well_formed

DEFAULT_EXPIRY: Final = timedelta(days=7)
LONGEST_EXPIRY: Final = timedelta(days=90)
MAX_TOKENS: Final = 10_000
_KMS_KEY: Final = re.compile(
    r"arn:aws[a-z-]{0,16}:kms:[a-z0-9-]{1,32}:[0-9]{12}:key/[A-Za-z0-9-]{1,64}"
)
_RSA_KEY: Final = re.compile(r"rsa:[0-9a-f]{64}")
_PERIOD: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}(-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?)?)?"
)
_INTEGER: Final = 2**53


@dataclass(frozen=True, slots=True)
class RunCommand:
    """A request for a run, as it came in."""

    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    period: str = ""
    format: str | None = None
    recipient: str | None = None
    row_cap: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """What may become a run; ``parameters`` are complete and each in its one spelling."""

    parameters: dict[str, Any] = field(repr=False)
    period: str
    format: Format
    recipient: str
    row_cap: int
    expires_at: datetime


def check_request(
    definition: ReportDefinition, command: RunCommand, at: datetime
) -> CheckedRequest:
    """The request with its defaults; ``invalid_request`` that names each field and rule
    that it breaks."""
    broken: list[FieldError] = []
    parameters = _parameters(definition, command.parameters, broken)
    if command.period and _PERIOD.fullmatch(command.period) is None:
        broken.append(FieldError("period", "format", "Give an ISO 8601 date or time."))
    chosen = command.format or definition.formats[0].value
    if chosen not in [known.value for known in definition.formats]:
        broken.append(FieldError("format", "enum", "The report has no such format."))
    recipient = command.recipient
    if recipient is None:
        broken.append(FieldError("recipient", "required", "Name the key to seal the output to."))
    elif _KMS_KEY.fullmatch(recipient) is None and _RSA_KEY.fullmatch(recipient) is None:
        detail = "Give the ARN of a KMS key, or rsa: and the SHA-256 (hex) of a DER public key."
        broken.append(FieldError("recipient", "format", detail))
    cap = definition.limits.row_cap
    row_cap = cap if command.row_cap is None else command.row_cap
    if not 1 <= row_cap <= cap:
        broken.append(FieldError("row_cap", "range", "Give 1 up to the report's own row cap."))
    expires_at = (command.expires_at or at + DEFAULT_EXPIRY).astimezone(UTC).replace(microsecond=0)
    if not at < expires_at <= at + LONGEST_EXPIRY:
        broken.append(FieldError("expires_at", "range", "Give a time in the next 90 days."))
    if broken:
        raise VaultError(
            Code.INVALID_REQUEST, "The request breaks a rule; see errors.", errors=tuple(broken)
        )
    return CheckedRequest(
        parameters, command.period, Format(chosen), recipient or "", row_cap, expires_at
    )


def _parameters(
    definition: ReportDefinition, given: Mapping[str, Any], broken: list[FieldError]
) -> dict[str, Any]:
    known = {parameter.name: parameter for parameter in definition.parameters}
    if not given.keys() <= known.keys():
        # The unknown name came from outside, so it is not repeated.
        detail = "The report has no such parameter; GET /v1/reports lists them."
        broken.append(FieldError("parameters", "unknown_field", detail))
    found: dict[str, Any] = {}
    for name, parameter in known.items():
        value = given.get(name)
        value = parameter.default if value is None else value
        if value is None:
            if parameter.required:
                detail = "The parameter is required."
                broken.append(FieldError(f"parameters.{name}", "required", detail))
            continue
        try:
            found[name] = _checked(parameter, value)
        except _Broken as error:
            broken.append(FieldError(f"parameters.{name}", error.rule, error.detail))
    return found


class _Broken(Exception):
    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(rule)
        self.rule = rule
        self.detail = detail


def _checked(parameter: Parameter, value: Any) -> Any:
    match parameter.type:
        case ParameterType.INTEGER:
            return _integer(parameter, value)
        case ParameterType.TOKENS:
            return _tokens(parameter, value)
        case ParameterType.DATE:
            return _date(value)
        case ParameterType.TIME:
            return _time(value)
        case ParameterType.CHOICE:
            if value not in parameter.choices:
                raise _Broken("enum", "Give one of the choices that GET /v1/reports lists.")
            return value
        case ParameterType.TEXT | ParameterType.PRINCIPAL | ParameterType.SUBJECT:
            return _text(value)
        case ParameterType.INPUT:
            return _input(value)


def _input(value: Any) -> str:
    name = _text(value)
    if INPUT_NAME.fullmatch(name) is None:
        detail = "Give the name of a file, without a path: letters, digits, . _ and -."
        raise _Broken("input_name", detail)
    return name


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Broken("type", "The parameter must be a text.")
    try:
        check_text(value, "parameter")
    except VaultError as error:
        first = error.errors[0]
        raise _Broken(first.rule, first.detail) from None
    return value


def _integer(parameter: Parameter, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Broken("type", "The parameter must be a whole number.")
    lowest = -_INTEGER if parameter.lowest is None else parameter.lowest
    highest = _INTEGER if parameter.highest is None else parameter.highest
    if not lowest <= value <= highest:
        raise _Broken("range", "The number is out of the range that GET /v1/reports tells.")
    if looks_like_card_number(str(value)):
        raise _Broken("no_card_number", "This is kept in clear and may hold no card number.")
    return value


def _date(value: Any) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        raise _Broken("type", "The parameter must be an ISO 8601 date.") from None


def _time(value: Any) -> str:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise _Broken("type", "The parameter must be an RFC 3339 time.") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return found.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _tokens(parameter: Parameter, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(token, str) for token in value):
        raise _Broken("type", "The parameter must be a list of tokens.")
    lowest = 1 if parameter.lowest is None else parameter.lowest
    highest = MAX_TOKENS if parameter.highest is None else parameter.highest
    if not lowest <= len(value) <= min(highest, MAX_TOKENS):
        raise _Broken("count", "The list has too few or too many tokens.")
    if any(looks_like_card_number(token) for token in value):
        raise _Broken("no_card_number", "A card number stands where a token belongs.")
    if not all(well_formed(token) for token in value):
        raise _Broken("token", "The list holds what can be no token.")
    if len(set(value)) != len(value):
        raise _Broken("unique", "A token stands twice.")
    return value
