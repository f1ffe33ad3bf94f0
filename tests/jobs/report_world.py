"""A vault with twelve people on the real service, and the place where its reports are asked
for, made by the real runner and opened by their reader."""

import io
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from reporting_jobs import settings, wiring
from reporting_jobs.definitions import definitions
from reporting_jobs.manifest import verify
from reporting_jobs.runner import Outcome
from tests.jobs.conftest import RsaPair, opened
from tests.reporting import people
from tests.serving import Server
from tests.synthetic import cards
from vault_service.client.report_results import RunInfo
from vault_service.domain.notes import VerifierKey

PEOPLE: Final = 12
NAMES: Final = ["Ivan Petrov", *(f"Anna Muster{chr(97 + n)}" for n in range(PEOPLE - 1))]


def lines(output: bytes) -> list[dict[str, Any]]:
    """The rows of an output in JSON."""
    return [json.loads(line) for line in output.splitlines()]


@dataclass
class World:
    """A vault with twelve people, and the place where its reports are made. The first card
    is also the thirteenth person's, who has nothing else but an address."""

    server: Server
    folder: Path
    reader: RsaPair
    started: datetime
    pans: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def store(self) -> None:
        checkout, crm = self.server.caller("checkout"), self.server.caller("crm")
        for number, card in enumerate(cards(PEOPLE, 1)):
            who = f"cus_{number}"
            self.pans += checkout.tokenize("pan", [card], subject=who)
            self.names += crm.tokenize("person_name", [NAMES[number]], subject=who)
            crm.tokenize("email", [f"person{number}@mail.example"], subject=who)
        crm.tokenize("date_of_birth", ["1970-01-02"], subject="cus_0")
        checkout.tokenize("pan", [cards(PEOPLE, 1)[0]], subject="cus_shared")
        crm.tokenize("email", ["shared@mail.example"], subject="cus_shared")
        answer = self.server.caller("chargeback-service").detokenize(self.pans[:2], "chargeback")
        assert answer.status_code == 200
        # A review ends with the last full second: the reveal must lie in one.
        revealed = datetime.now(UTC)
        while datetime.now(UTC).replace(microsecond=0) <= revealed:
            time.sleep(0.01)

    def request(self, report: str, format: str = "json", **fields: Any) -> RunInfo:
        """A run that may start."""
        run = people(self.server, "compliance-officer").request_run(
            report, recipient=self.reader.recipient.name, format=format, **fields
        )
        if run.needs_approval:
            assert run.order is None
            run = people(self.server, "compliance-lead").approve(run.id, binding=run.binding)
        return run

    def make(self, run: RunInfo) -> Outcome:
        """What the real runner makes of it."""
        assert run.order is not None
        tokens = self.folder / "tokens"
        tokens.mkdir(exist_ok=True)
        (tokens / run.report).write_text(self.server.key(f"job:{run.report}"))
        loaded = settings.load(
            {
                "STRONGROOM_URL": self.server.url,
                "STRONGROOM_LOG_KEY": self.key,
                "STRONGROOM_REPORT_OUTPUTS": str(self.server.home / "reports"),
                "STRONGROOM_REPORT_RECIPIENTS": str(self.folder),
                "STRONGROOM_REPORT_INPUTS": str(self.folder),
                "STRONGROOM_REPORT_TOKENS": str(tokens),
            }
        )
        return wiring.runner(loaded).run(run.order)

    @property
    def key(self) -> str:
        return self.server.caller("auditor").get("/v1/audit/key").text

    def opened(self, run: RunInfo) -> bytes:
        """The output in its reader's hands, once its manifest was verified offline."""
        done = people(self.server, "compliance-officer").run(run.id)
        path = self.folder / run.id
        people(self.server, "compliance-officer").output(run.id, path)
        sealed = path.read_bytes()
        assert done.manifest is not None
        key = VerifierKey.parse(self.key.strip())
        manifest, checkpoint = verify(io.BytesIO(sealed), done.manifest, key)
        assert (manifest.run, manifest.rows) == (run.id, done.rows)
        assert (manifest.approver is not None) == run.needs_approval
        assert checkpoint is not None
        declared = [column.name for column in definitions()[run.report].columns]
        assert [column.name for column in manifest.columns] == declared
        assert run.order is not None
        return opened(sealed, run.order, private_key=self.reader.private)

    def rows(self, report: str, **fields: Any) -> list[dict[str, Any]]:
        """The rows of a new run, by column."""
        run = self.request(report, **fields)
        outcome = self.make(run)
        assert (outcome.state, outcome.code) == ("succeeded", None)
        return lines(self.opened(run))

    def ended(self, run: RunInfo) -> tuple[str, str | None, str | None]:
        found = people(self.server, "compliance-officer").run(run.id)
        return found.state, found.code, found.rule

    def outputs(self, run: RunInfo) -> list[Path]:
        return list((self.server.home / "reports").glob(f"{run.report}/{run.id}/*"))

    def failed(self, run: RunInfo) -> list[dict[str, Any]]:
        """What the log has of its end."""
        events = self.server.caller("auditor").events(action="report_failed")
        return [event["detail"] for event in events if event["detail"]["run"] == run.id]
