"""No secret in any file of the repository: detect-secrets, with every known value reasoned.

``known_values.yml`` lists patterns of what is published for tests, or looks like a secret and
is none, each with its reason. A finding that no pattern takes fails, and so does a pattern
that takes no finding.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import yaml

from infra.checks.commands import ROOT, run, tool
from infra.checks.findings import CannotCheck, Finding, Outcome

KNOWN: Final = Path(__file__).with_name("known_values.yml")
_NONE_FOUND: Final = 0
_BATCH: Final = 200
"""Files that one command line names."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Lines that hold ``pattern``, in files that any of ``paths`` matches, are no secrets."""

    pattern: re.Pattern[str]
    paths: tuple[str, ...]
    because: str

    def takes(self, path: str, line: str) -> bool:
        return bool(self.pattern.search(line)) and any(fnmatch(path, each) for each in self.paths)


def allowances(path: Path = KNOWN) -> list[Allowance]:
    """What ``known_values.yml`` allows; each entry must say why."""
    entries = yaml.safe_load(path.read_text())
    found = [
        Allowance(re.compile(entry["value"]), tuple(entry["paths"]), entry["because"])
        for entry in entries
    ]
    if not all(each.because.strip() for each in found):
        raise CannotCheck(f"{path.name}: every entry says why, under `because`")
    return found


def scan(root: Path = ROOT, known: Sequence[Allowance] | None = None) -> Outcome:
    """Look through every file of the work tree that git keeps or would keep."""
    known = allowances() if known is None else known
    paths = _files(root)
    unused = dict.fromkeys(known)
    findings: list[Finding] = []
    for path, kind, number in _suspects(root, paths):
        line = (root / path).read_text(errors="replace").splitlines()[number - 1]
        taking = [each for each in known if each.takes(path, line)]
        for each in taking:
            unused.pop(each, None)
        if not taking:
            findings.append(
                Finding(
                    "no-secrets",
                    f"{path}:{number}",
                    f"looks like a secret ({kind}); take it out and revoke it, or, if it is"
                    f" published for tests, say so in {KNOWN.name}",
                )
            )
    findings += [
        Finding("known-values", each.pattern.pattern, f"takes nothing; remove it from {KNOWN.name}")
        for each in unused
    ]
    return Outcome(f"{len(paths)} files", findings)


def _files(root: Path) -> list[str]:
    done = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root)
    if done.returncode:
        raise CannotCheck(f"git ls-files failed: {done.stderr.strip()}")
    return [path for path in done.stdout.split("\0") if path and (root / path).is_file()]


def _suspects(root: Path, paths: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    program = tool("detect-secrets")
    for start in range(0, len(paths), _BATCH):
        done = run([program, "scan", "--no-verify", *paths[start : start + _BATCH]], cwd=root)
        if done.returncode != _NONE_FOUND:
            raise CannotCheck(f"detect-secrets failed: {done.stderr.strip()}")
        results: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)["results"]
        for path, found in sorted(results.items()):
            for each in found:
                yield path, each["type"], each["line_number"]
