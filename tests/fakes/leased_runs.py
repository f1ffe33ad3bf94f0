"""Runs and their parts as the vault in memory keeps them: who has the lease, what came of it,
and what is told of it, in the shapes of the contract."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from vault_service.domain.report_notes import WorkOrder

SEALED = ("rows", "output_sha256", "output_bytes", "output_location")


@dataclass
class FakeLease:
    """Who makes a run, or a part of one, and what came of it so far."""

    order: str
    holder: str | None = None
    lease_until: float = 0.0
    attempts: int = 0
    sealed: dict[str, Any] | None = None
    released: list[str] = field(default_factory=list)

    def take(self, holder: str, seconds: float) -> bool:
        """Lease it; whether nobody else has it."""
        now = datetime.now(UTC).timestamp()
        if self.holder not in (None, holder) and now < self.lease_until:
            return False
        self.holder, self.attempts = holder, self.attempts + 1
        self.lease_until = now + seconds
        return True


@dataclass
class FakePart(FakeLease):
    """A part as the fake keeps it: of ``tokens``."""

    number: int = 0
    tokens: list[str] = field(default_factory=list)
    done: bool = False

    def told(self, of: int) -> dict[str, Any]:
        """What is told of it; ``of`` is how many parts the run has."""
        leased = self.holder is not None and datetime.now(UTC).timestamp() < self.lease_until
        return {
            "number": self.number,
            "of": of,
            "done": self.done,
            "leased": leased and not self.done,
            "attempts": self.attempts,
            "sealed": self.sealed,
            "order": self.order,
        }


@dataclass
class FakeRun(FakeLease):
    """A run as the fake keeps it."""

    info: dict[str, Any] = field(default_factory=dict)
    finishes: list[dict[str, Any]] = field(default_factory=list)
    parts: list[FakePart] = field(default_factory=list)

    def told(self, at: FakeLease | None = None) -> dict[str, Any]:
        """What is told of it; to whoever makes it or a part of it, of that too."""
        approved = self.info["state"] != "requested" or not self.info["needs_approval"]
        told = {**self.info, "order": self.order if approved else None}
        told |= {"attempts": self.attempts, "parts": len(self.parts)}
        told |= {"parts_done": sum(part.done for part in self.parts)}
        if at is self:
            told["sealed"] = self.sealed
        elif isinstance(at, FakePart):
            told["part"] = at.told(len(self.parts))
        return told

    def parts_told(self) -> list[dict[str, Any]]:
        """What is told of each part."""
        return [part.told(len(self.parts)) for part in self.parts]

    def finish(self, at: FakeLease, body: dict[str, Any]) -> None:
        """Finish a part or the whole; with the last part the run has succeeded."""
        self.finishes.append(body)
        at.sealed = {name: body[name] for name in SEALED}
        if isinstance(at, FakePart):
            at.done = True
            if not all(part.done for part in self.parts):
                return
        leases: list[FakeLease] = [*self.parts] or [self]
        made = [each.sealed or {} for each in leases]
        self.info |= {"state": "succeeded", "locations": [each["output_location"] for each in made]}
        self.info |= {name: sum(each[name] for each in made) for name in ("rows", "output_bytes")}
        if at is self:
            self.info["output_sha256"] = body["output_sha256"]


def new_run(
    order: WorkOrder, note: str, parameters: Mapping[str, Any], *, requested_at: datetime
) -> FakeRun:
    """The approved run of an order; ``note`` is the order as it was signed."""
    told = msgspec.to_builtins(order)
    info = {
        **{name: told[name] for name in ("report", "purpose", "template_hash", "period")},
        **{name: told[name] for name in ("format", "recipient", "row_cap", "requester")},
        "id": order.run,
        "state": "approved",
        "parameters": parameters,
        "requested_at": requested_at.isoformat(),
        "expires_at": order.expires_at,
        "updated_at": requested_at.isoformat(),
        "needs_approval": True,
        "binding": {},
    }
    return FakeRun(note, info=info)
