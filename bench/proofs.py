"""The sealed log for those who verify it: proofs, exports and their verification."""

import asyncio
import json
import random
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg

from bench.figures import Exported, LogFigures
from bench.history import TENANT
from bench.load import drive, get, percentiles
from bench.pinned import strongroom
from bench.service import Service
from vault_service.bootstrap import open_services
from vault_service.domain.notes import VerifierKey
from vault_service.services.proofs import receipt
from vault_service.settings import load
from vault_service.verifier.findings import Verdict
from vault_service.verifier.receipts import verify_receipt

_PROOFS: Final = 1000
_WARM_UP: Final = 20
_IDS: Final = (
    "SELECT e.id FROM strongroom.log_leaves AS l JOIN strongroom.audit_events AS e"
    " USING (position, occurred_at) WHERE l.leaf_index = ANY (%s) AND e.tenant = %s"
)
_TIME: Final = "SELECT occurred_at FROM strongroom.log_leaves WHERE leaf_index = %s"


def measure(service: Service, folder: Path, small: int, figures: LogFigures) -> None:
    """Prove events of the log, export it whole and about its first ``small`` leaves, and
    verify both exports."""
    key = service.issue_key("auditor")
    [note] = drive(service.port, [get("/v1/audit/key", key, service.port)], 1, keep=True).answers
    pinned = note.partition(b"\r\n\r\n")[2].decode().strip()
    ids = _event_ids(service, figures.leaves)
    half = len(ids) // 2
    figures.proof = _over_http(service, key, pinned, ids[:half])
    figures.proof_alone = asyncio.run(_alone(service, ids[half:]))
    [until] = _row(service, _TIME, min(small, figures.leaves - 1))
    for arguments in (["--to", _text(until)], []):
        path = folder / "log.ndjson"
        export = strongroom(["audit", "export", "-o", str(path), *arguments], service.environ)
        verify = strongroom(
            ["audit", "verify", str(path), "--key", pinned, "--json"], {}, one_core=True
        )
        events: int = json.loads(verify.output)["events"]
        figures.exports.append(Exported(events, path.stat().st_size, export, verify))
        path.unlink()
        print(f"  exported and verified {events:,}", file=sys.stderr, flush=True)


def _over_http(service: Service, key: str, pinned: str, ids: list[str]) -> tuple[float, float]:
    requests = [get(f"/v1/audit/events/{event}/proof", key, service.port) for event in ids]
    drive(service.port, requests[:_WARM_UP], 1)
    load = drive(service.port, requests[_WARM_UP:], 1, keep=True)
    verifier = VerifierKey.parse(pinned)
    for answer in load.answers:
        if verify_receipt(answer.partition(b"\r\n\r\n")[2], verifier).verdict != Verdict.VERIFIED:
            raise RuntimeError("a proof does not verify")
    return percentiles(load.latencies)


async def _alone(service: Service, ids: list[str]) -> tuple[float, float]:
    """Finding the event and building its proof, without HTTP and without recording it."""
    seconds = []
    async with open_services(load(service.environ)) as services:
        reader = services.log.reader
        for number, event in enumerate(ids):
            started = time.perf_counter()
            found = await reader.event(TENANT, event)
            assert found is not None
            await receipt(reader, TENANT, event, found)
            if number >= _WARM_UP:
                seconds.append(time.perf_counter() - started)
    return percentiles(seconds)


def _event_ids(service: Service, leaves: int) -> list[str]:
    source = random.Random(2)  # synthetic data, not secrets
    wanted = source.sample(range(leaves), min(leaves, 2 * _PROOFS))
    with psycopg.connect(service.database.superuser_url) as connection:
        ids = [row[0] for row in connection.execute(_IDS, (wanted, TENANT))]
    source.shuffle(ids)
    return ids


def _row(service: Service, query: str, *parameters: Any) -> Any:
    with psycopg.connect(service.database.superuser_url) as connection:
        return connection.execute(query.encode(), parameters).fetchone()


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
