"""Finding the events of one token or person in a large log."""

import json
import random
import statistics
from typing import Final

from bench.figures import Search
from bench.history import History
from bench.load import drive, get, percentiles
from bench.service import Service
from bench.traffic import subject_of, token_of

_EACH: Final = 150
_KINDS: Final = (
    ("events of a token", "/v1/audit/events?token={}&limit=1000", "events"),
    ("events of a subject", "/v1/audit/events?subject={}&limit=1000", "events"),
    ("timeline of a subject", "/v1/subjects/{}/timeline?limit=1000", "entries"),
)


def measure(service: Service, history: History) -> dict[str, Search]:
    """Ask for the events of some tokens and people, each for the first time and again."""
    key = service.issue_key("auditor")
    people = list(history.watched)
    random.Random(3).shuffle(people)  # synthetic data, not secrets
    found = {}
    for kind, path, field in _KINDS:
        # Other people for each kind, so that each is asked for once for the first time.
        asked, people = people[:_EACH], people[_EACH:]
        token = "token" in kind
        names = [token_of(person, "pan") if token else subject_of(person) for person in asked]
        expected = [history.mentions[name] for name in names]
        requests = [get(path.format(name), key, service.port) for name in names]
        times = []
        for _ in range(2):
            load = drive(service.port, requests, 1, keep=True)
            bodies = [json.loads(answer.partition(b"\r\n\r\n")[2]) for answer in load.answers]
            if [len(body[field]) for body in bodies] != expected:
                raise RuntimeError(f"{kind}: found something other than what there is")
            times.append(percentiles(load.latencies))
        found[kind] = Search(times[0], times[1], statistics.median(expected))
    return found
