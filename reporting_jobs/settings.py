"""Settings of report jobs: the one place that reads their environment.

| variable | meaning |
|---|---|
| `STRONGROOM_URL` | the vault |
| `STRONGROOM_LOG_KEY` | the log's public key (or its file), pinned: it verifies work orders |
| `STRONGROOM_REPORT_OUTPUTS` | where sealed outputs go: `s3://bucket/prefix` or a folder |
| `STRONGROOM_REPORT_RETENTION_DAYS` | how long S3 keeps each (400) |
| `STRONGROOM_REPORT_RECIPIENTS` | RSA keys of recipients: `s3://bucket/prefix` or a folder |
| `STRONGROOM_REPORT_INPUTS` | files that reports are given, likewise |
| `STRONGROOM_REPORT_RECIPIENT` | who gets the outputs of schedules |
| `STRONGROOM_REPORT_RECEIVES` | deliveries of a message before the dead-letter queue (5) |
| `STRONGROOM_REPORT_QUEUE_URL` | the SQS queue for parts of heavy runs; none: made in turn |

and one credential, the first of these that is set:

| variable | meaning |
|---|---|
| `STRONGROOM_REPORT_TOKENS` | a folder: the API key of each job in a file named as its report |
| `STRONGROOM_TOKEN` | an API key of the one report that runs here |
| `STRONGROOM_AUDIENCE` | show the AWS role of this process to the vault of this name |
| `STRONGROOM_REPORT_ROLE_ARN` | with it: the role to take on, `{report}` standing for the report |
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vault_service.domain.errors import ConfigurationError
from vault_service.domain.notes import NoteError, VerifierKey

_RETENTION_DAYS: Final = 400
_RECEIVES: Final = 5
_PREFIX: Final = "STRONGROOM_"


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What the environment says; the module's text says what each is."""

    url: str
    key: VerifierKey
    outputs: str
    retention_days: int = _RETENTION_DAYS
    recipients: str = ""
    inputs: str = ""
    recipient: str = ""
    receives: int = _RECEIVES
    queue: str = ""
    tokens: Path | None = None
    token: str = field(default="", repr=False)
    audience: str = ""
    role: str = ""
    region: str = ""


def load(environment: Mapping[str, str] = os.environ) -> JobSettings:
    """The settings; :class:`ConfigurationError` says which one is missing or unusable."""

    def read(name: str, mend: str = "") -> str:
        value = environment.get(_PREFIX + name, "").strip()
        if mend and not value:
            raise ConfigurationError(f"{_PREFIX}{name} is not set: {mend}.")
        return value

    tokens = read("REPORT_TOKENS")
    settings = JobSettings(
        url=read("URL", "it is the address of the vault"),
        key=_key(read("LOG_KEY", "`strongroom audit key` prints it; hand it over by another way")),
        outputs=read("REPORT_OUTPUTS", "s3://bucket/prefix, or a folder"),
        retention_days=_number("REPORT_RETENTION_DAYS", read, _RETENTION_DAYS),
        recipients=read("REPORT_RECIPIENTS"),
        inputs=read("REPORT_INPUTS"),
        recipient=read("REPORT_RECIPIENT"),
        receives=_number("REPORT_RECEIVES", read, _RECEIVES),
        queue=read("REPORT_QUEUE_URL"),
        tokens=Path(tokens) if tokens else None,
        token=read("TOKEN"),
        audience=read("AUDIENCE"),
        role=read("REPORT_ROLE_ARN"),
        region=environment.get("AWS_REGION", environment.get("AWS_DEFAULT_REGION", "")),
    )
    if not (settings.tokens or settings.token or settings.audience):
        raise ConfigurationError(
            "No credential: set STRONGROOM_REPORT_TOKENS, STRONGROOM_TOKEN or, for the role of"
            " this process, STRONGROOM_AUDIENCE."
        )
    if settings.audience and not settings.region:
        raise ConfigurationError("STRONGROOM_AUDIENCE needs AWS_REGION, which names the STS.")
    return settings


def _number(name: str, read: Callable[[str], str], default: int) -> int:
    text = read(name)
    if not text:
        return default
    if not text.isdigit() or int(text) < 1:
        raise ConfigurationError(f"{_PREFIX}{name} must be a number from 1.")
    return int(text)


def _key(text: str) -> VerifierKey:
    try:
        if "+" not in text:
            text = Path(text).read_text(encoding="ascii").strip()
        return VerifierKey.parse(text)
    except (OSError, ValueError, NoteError):
        raise ConfigurationError(
            "STRONGROOM_LOG_KEY is neither a verifier key (name+id+key) nor a file that holds one."
        ) from None
