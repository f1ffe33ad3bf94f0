"""The sealer and the workers are killed under load: the log stays one, whole and signed.

SIGKILL to every process of the service, to the one worker that seals, or an immediate end
of PostgreSQL, while callers of several kinds are at work and an auditor takes checkpoints.
Afterwards no acknowledged event is lost, none is sealed twice, and every checkpoint that
was ever signed, given out or kept is consistent with the tree there is (RFC 6962 2.1.2).
"""

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from tests.calling import Caller
from tests.fresh_services import new_server
from tests.requests_made import RequestsMade, exported, recorded
from tests.serving import Server
from tests.soak import times
from tests.synthetic import cards
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
from vault_service.domain.checkpoints import Checkpoint, open_checkpoint
from vault_service.domain.merkle import (
    Frontier,
    consistency_proof,
    leaf_hash,
    verify_consistency,
)
from vault_service.domain.notes import VerifierKey
from vault_service.domain.tiles import TileNodes

CALLERS = 6
BEFORE = 60
"""Acknowledged requests a round, at least, before anything is killed."""
ORIGIN = "strongroom/audit"
RECOVERY_SECONDS = 90.0


@pytest.fixture(scope="module")
def vault(
    own_postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    server = new_server(own_postgres, tmp_path_factory.mktemp("vault"), workers=4)
    try:
        yield server.start()
    finally:
        server.close()


@dataclass
class Load:
    """Callers who go on whatever happens to their server, and an auditor who takes every
    checkpoint that is given out."""

    server: Server
    made: RequestsMade
    values: list[str]
    notes: set[str] = field(default_factory=set)
    wrong: Counter[str] = field(default_factory=Counter)

    def under(self, fault: Callable[[], None], seconds: float) -> None:
        """Load the server, do ``fault`` to it once it has served that long, and some
        requests, and go on until it serves again."""
        over, enough = threading.Event(), len(self.made.acknowledged) + BEFORE
        with ThreadPoolExecutor(CALLERS + 1) as threads:
            running = [threads.submit(self._audit, over)]
            running += [threads.submit(self._call, n, over) for n in range(CALLERS)]
            try:
                while len(self.made.acknowledged) < enough and not any(r.done() for r in running):
                    over.wait(0.05)
                over.wait(seconds)
                fault()
                self.server.wait("/readyz")
            finally:
                over.set()
            for each in running:
                each.result()

    def _call(self, number: int, over: threading.Event) -> None:
        source = random.Random(f"{number} {len(self.made.answered)}")
        principal = "other-merchant" if number == 0 else "load-tester"
        caller = Caller(self.server.url, self.server.key(principal))
        tokens: list[str] = []
        try:
            while not over.is_set():
                if tokens and source.random() < 0.3:
                    item = {"token": source.choice(tokens)}
                    path, body = "/v1/detokenize", {"purpose": "chargeback", "items": [item]}
                else:
                    value = source.choice(self.values)
                    path, body = "/v1/tokenize", {"items": [{"data_class": "pan", "value": value}]}
                request_id = self.made.new_id()
                try:
                    answer = caller.post(path, body, headers={"X-Request-Id": request_id})
                except httpx2.ConnectError:
                    self.made.withdraw(request_id)
                    over.wait(0.05)
                    continue
                except httpx2.TransportError:
                    continue  # nobody knows what became of it
                self.made.keep(request_id, answer)
                if answer.status_code == 200 and path == "/v1/tokenize":
                    tokens.append(answer.json()["items"][0]["token"])
                elif answer.status_code not in (200, 403, 503):
                    self.wrong[f"{path} {answer.status_code}"] += 1
        finally:
            caller.close()

    def _audit(self, over: threading.Event) -> None:
        caller = Caller(self.server.url, self.server.key("auditor"))
        try:
            while not over.is_set():
                try:
                    answer = caller.get("/v1/audit/checkpoint")
                except httpx2.TransportError:
                    over.wait(0.05)
                    continue
                if answer.status_code == 200:
                    self.notes.add(answer.text)
                over.wait(0.02)
        finally:
            caller.close()


def test_the_sealer_is_killed_under_load(
    vault: Server,
    own_postgres: EmbeddedPostgres,
    tmp_path: Path,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    rounds = times(5, 50)
    source = random.Random(105)
    auditor = vault.caller("auditor")
    key = VerifierKey.parse(auditor.get("/v1/audit/key").text.strip())
    load = Load(vault, RequestsMade("killed"), cards(5_000, seed=105))
    for principal in ("load-tester", "other-merchant"):
        vault.key(principal)  # made before the load, by a process of its own
    faults: dict[str, Callable[[], None]] = {
        "leader": lambda: _kill_leader(vault),
        "service": lambda: _kill_service(vault),
        "postgresql": lambda: _end_postgresql(own_postgres, source),
    }
    kinds = list(faults) * (rounds // len(faults) + 1)
    for kind in kinds[:rounds]:
        load.under(faults[kind], source.uniform(0.0, 1.5))
        _await_sealed(vault, load)
    assert not load.wrong
    assert len(load.made.acknowledged) >= rounds * BEFORE
    vault.stop()
    _check_events(vault, load.made)
    checkpoints = _check_checkpoints(vault, load.notes, key)
    bundle = tmp_path / "bundle.ndjson"
    vault.command("audit", "export", "-o", str(bundle))
    vault.command("audit", "verify", str(bundle), "--key", key.encode())
    sealed = exported(bundle, "killed")
    assert all(sealed.get(r) == [e] for r, e in load.made.acknowledged.items())
    assert all(len(found) == 1 for found in sealed.values())
    record_testsuite_property("sealer_kills", rounds)
    record_testsuite_property("sealer_acknowledged", len(load.made.acknowledged))
    record_testsuite_property("sealer_unanswered", len(load.made.unanswered))
    record_testsuite_property("sealer_checkpoints", checkpoints)


def _kill_leader(vault: Server) -> None:
    """SIGKILL to the worker that seals, as it said in the log; another takes over."""
    lines = vault.stderr.read_text().splitlines()
    leads = [line for line in lines if '"sealer_leads"' in line]
    os.kill(json.loads(leads[-1])["process"], signal.SIGKILL)
    deadline = time.monotonic() + RECOVERY_SECONDS
    while vault.stderr.read_text().count('"sealer_leads"') == len(leads):
        assert time.monotonic() < deadline, "nobody took over"
        time.sleep(0.05)


def _kill_service(vault: Server) -> None:
    vault.kill()
    vault.start()


def _end_postgresql(postgres: EmbeddedPostgres, source: random.Random) -> None:
    """SIGKILL, or an immediate shutdown: without a checkpoint, recovering from the log."""
    lines = (postgres.home / "postgres" / "postmaster.pid").read_text().splitlines()
    os.kill(int(lines[0]), source.choice((signal.SIGKILL, signal.SIGQUIT)))
    postgres.ensure_running()


def _await_sealed(vault: Server, load: Load) -> None:
    """The newest event that was acknowledged is sealed and signed: it has a proof."""
    event_id = list(load.made.acknowledged.values())[-1]
    # Whose it is, is not known here: to the other it is as if it did not exist.
    askers = [Caller(vault.url, vault.key(name)) for name in ("load-tester", "other-merchant")]
    deadline = time.monotonic() + RECOVERY_SECONDS
    try:
        while not any(_has_proof(asker, event_id) for asker in askers):
            assert time.monotonic() < deadline, "it was not sealed and signed"
            time.sleep(0.05)
    finally:
        for asker in askers:
            asker.close()


def _has_proof(asker: Caller, event_id: str) -> bool:
    try:
        answer = asker.get(f"/v1/audit/events/{event_id}/proof")
    except httpx2.TransportError:
        return False
    assert answer.status_code in (200, 404, 503), answer.text
    return answer.status_code == 200


def _check_events(vault: Server, made: RequestsMade) -> None:
    """Nothing acknowledged is lost, nothing was recorded or sealed twice, all is sealed."""
    events = recorded(vault, "killed")
    for request_id, event_id in made.acknowledged.items():
        assert events.get(request_id) == [event_id]
    assert all(len(found) == 1 for found in events.values())
    assert set(events) <= made.answered.keys() | made.unanswered
    [(stored, leaves, positions, sealed)] = vault.query(
        "SELECT (SELECT count(*) FROM strongroom.audit_events), count(*),"
        " count(DISTINCT l.position), count(DISTINCT e.id) FROM strongroom.log_leaves AS l"
        " JOIN strongroom.audit_events AS e USING (position)"
    )
    assert stored == leaves == positions == sealed
    assert vault.query("SELECT size FROM strongroom.log_tree") == [(leaves,)]


def _check_checkpoints(vault: Server, given_out: set[str], key: VerifierKey) -> int:
    """Every checkpoint there ever was is shown to be of the tree there is; how many."""
    kept = {path.read_text() for path in (vault.home / "checkpoints").iterdir()}
    stored = {note for (note,) in vault.query("SELECT note FROM strongroom.log_checkpoints")}
    assert kept == stored, "each has its copy"
    assert given_out <= stored, "none that was given out is gone"
    bodies = vault.query(
        "SELECT e.body FROM strongroom.log_leaves AS l JOIN strongroom.audit_events AS e"
        " USING (position) ORDER BY l.leaf_index"
    )
    frontier = Frontier(0, ())
    for (body,) in bodies:
        frontier.append(leaf_hash(bytes(body)))
    rows = vault.query("SELECT level, tile_index, hashes FROM strongroom.log_tiles")
    nodes = TileNodes({(level, index): bytes(hashes) for level, index, hashes in rows})
    opened: dict[int, Checkpoint] = {}
    for note in stored:
        checkpoint = open_checkpoint(note, key, ORIGIN)
        assert opened.setdefault(checkpoint.size, checkpoint) == checkpoint, "one of each size"
        proof = consistency_proof(checkpoint.size, frontier.size, nodes.node)
        verify_consistency(checkpoint.size, checkpoint.root, frontier.size, frontier.root(), proof)
    assert max(opened) == frontier.size, "all is signed"
    return len(opened)
