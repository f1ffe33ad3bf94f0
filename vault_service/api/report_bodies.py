"""What the routes of reports take. Times are RFC 3339 in UTC."""

from typing import Final

import msgspec

Given = str | int | float | bool | list[str] | None


class RunBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST /v1/reports/{name}/runs``."""

    parameters: dict[str, Given] = {}
    period: str = ""
    format: str | None = None
    recipient: str | None = None
    row_cap: int | None = None
    expires_at: str | None = None


class ApproveBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST …/approve``."""

    binding: dict[str, str | int] | None = None
    until: str | None = None


class StartBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST …/start``."""

    order: str
    holder: str


class HeartbeatBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST …/heartbeat``; ``part`` of a run that was split."""

    holder: str
    part: int | None = None


class ReleaseBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST …/release``."""

    holder: str
    reason: str
    part: int | None = None


class SplitBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST …/split``."""

    holder: str


class RunTokensBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST …/tokens``."""

    data_class: str
    subjects: list[str] | None = None
    among: list[str] | None = None
    overdue: bool = False
    part: int | None = None
    cursor: str | None = None


class ResultBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST …/seal`` and ``POST …/finish``."""

    holder: str
    rows: int
    columns: list[str]
    output_sha256: str
    output_bytes: int
    output_location: str
    part: int | None = None


class FailBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST …/fail``."""

    holder: str
    code: str
    reason: str | None = None
    part: int | None = None


BODIES: Final = (
    RunBody,
    ApproveBody,
    StartBody,
    HeartbeatBody,
    ReleaseBody,
    SplitBody,
    RunTokensBody,
    ResultBody,
    FailBody,
)
