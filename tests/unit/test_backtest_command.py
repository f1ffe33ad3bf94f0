"""``strongroom policy backtest`` over a bundle: what it prints, what it exits with, cases."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.replayed import NOON, group, reveal
from vault_service.cli.policy import app
from vault_service.domain import bundle
from vault_service.domain.events import canonical_bytes

POLICIES = Path(__file__).parents[2] / "policies"
DISPUTES = '["disputes", "merchant"].contains(principal.getTag("duty"))'
HASH = bytes(32)
HEADER = bundle.Header(v=1, origin="log.example", scope="all", first=0, left=(), key="key")


def line_of(number: int, **fields: Any) -> bundle.Line:
    return bundle.Event(number, HASH, canonical_bytes(reveal(group(), **fields)))


EVENTS: Sequence[bundle.Line] = (
    line_of(0, id="evt_0"),
    bundle.Withheld(1, HASH, "tenant"),
    line_of(2, id="evt_2", occurred_at=NOON.replace(hour=20)),
    bundle.Unsealed(canonical_bytes(reveal(group(), id="evt_3"))),
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return written(tmp_path / "log.ndjson", HEADER, *EVENTS, bundle.End(3, 2, 1))


def written(path: Path, *lines: bundle.Line) -> Path:
    path.write_bytes(b"".join(map(bundle.encode, lines)))
    return path


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return Path(shutil.copytree(POLICIES, tmp_path / "new"))


@pytest.fixture
def run(log: Path, new: Path) -> Callable[..., Result]:
    def backtest(*arguments: str | Path, to: Path = new, over: Path = log) -> Result:
        where: list[str | Path] = [to, "--bundle", over, "--policies", POLICIES]
        return CliRunner().invoke(app, ["backtest", *map(str, [*where, *arguments])])

    return backtest


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def cases(result: Result) -> dict[str, tuple[str, bool]]:
    answer = json.loads(result.stdout)
    return {case["name"]: (case["change"], case["fails"]) for case in answer["cases"]}


def test_nothing_changes_under_the_same_files(run: Callable[..., Result]) -> None:
    result = run()
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "4 events: 3 replayed, 0 in part, 1 not; 3 decisions",
        "not replayed: withheld: 1 events, 0 items (the bundle holds its hash but not the event)",
        "Nothing changes.",
    ]


def test_a_change_is_told_in_one_line(run: Callable[..., Result], new: Path) -> None:
    change(new / "reveal.cedar", DISPUTES, "false")
    result = run()
    assert result.exit_code == 1
    assert (
        "newly denied: main/chargeback-service detokenize pan plain for chargeback: 3 events,"
        " 9 items, 6 tokens; then by disputes-reveal-pan, now by no policy; evt_0, evt_2, evt_3"
    ) in result.stdout.splitlines()


def test_the_time_asked_for_bounds_the_bundle_too(run: Callable[..., Result], new: Path) -> None:
    change(new / "reveal.cedar", DISPUTES, "false")
    result = run("--json", "--from", "2026-01-05T12:00:01", "--to", "2026-01-06")
    [found] = json.loads(result.stdout)["changes"]
    assert found["event_ids"] == ["evt_2"]


def test_cases_that_are_answered_otherwise_are_told(run: Callable[..., Result], new: Path) -> None:
    assert cases(run("--json")) == {}
    file = new / "cases" / "reveal.yml"
    change(new / "reveal.cedar", 'context.purpose == "payout"', "true")
    change(file, "name: payout-service sees a plain IBAN for a payout", "name: payouts are paid")
    result = run("--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["changes"] == []
    assert cases(result) == {
        "payout-service sees no IBAN for another purpose": ("now_failing", True),
        "payout-service sees a plain IBAN for a payout": ("removed", False),
        "payouts are paid": ("added", False),
    }
    [failing] = [line for line in run().stdout.splitlines() if line.startswith("case now failing")]
    assert failing.endswith(
        "then deny by no policy, now allow by payouts-reveal-iban; it is not answered as it expects"
    )


def test_a_case_that_follows_its_policy_has_changed(run: Callable[..., Result], new: Path) -> None:
    name = "payout-service sees no IBAN for another purpose"
    change(new / "reveal.cedar", 'context.purpose == "payout"', "true")
    file = new / "cases" / "reveal.yml"
    head, _, tail = file.read_text().partition(f"name: {name}")
    tail = tail.replace(
        "expect: deny\n    by: []", "expect: allow\n    by: [payouts-reveal-iban]", 1
    )
    file.write_text(f"{head}name: {name}{tail}")
    assert cases(run("--json")) == {name: ("changed", False)}


def test_a_case_of_what_is_gone_cannot_be_asked(run: Callable[..., Result], new: Path) -> None:
    principals = (new / "principals.yml").read_text()
    before, _, rest = principals.partition("  - name: auditor\n")
    (new / "principals.yml").write_text(before + rest.partition("\n\n")[2])
    for file in (new / "cases").glob("*.yml"):
        parts = file.read_text().split("\n\n  - name: ")
        kept = [part for part in parts if "principal: auditor," not in part]
        file.write_text("\n\n  - name: ".join(kept).rstrip() + "\n")
    answer = json.loads(run("--json").stdout)
    gone = [case for case in answer["cases"] if "auditor" in case["name"]]
    assert gone
    assert all(case["change"] == "removed" and case["now"] is None for case in gone)
    assert all(case["then"] is not None for case in gone)


@pytest.mark.parametrize(
    ("file", "old", "new_text"),
    [
        ("catalog.yml", "data_classes:", "data_clases:"),
        ("reveal.cedar", "permit (", "permitt ("),
        ("reveal.cedar", "context.form ==", "context.shape =="),
        ("cases/reveal.yml", "expect: allow", "expect: maybe"),
        ("principals.yml", "type: service", "type: serivce"),
    ],
)
def test_an_unusable_directory_is_a_usage_error(
    run: Callable[..., Result], new: Path, file: str, old: str, new_text: str
) -> None:
    change(new / file, old, new_text)
    result = run()
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr


def test_a_directory_that_is_not_there_is_a_usage_error(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    assert run(to=tmp_path / "nowhere").exit_code == 2
    assert run("--policies", tmp_path / "nowhere").exit_code == 2


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [HEADER, *EVENTS],
        [*EVENTS, bundle.End(3, 2, 1)],
        [HEADER, *EVENTS, HEADER, bundle.End(3, 2, 1)],
    ],
    ids=["empty", "no end", "no header", "two headers"],
)
def test_half_a_bundle_is_no_log(
    run: Callable[..., Result], tmp_path: Path, lines: list[bundle.Line]
) -> None:
    result = run(over=written(tmp_path / "half.ndjson", *lines))
    assert result.exit_code == 2
    assert result.stdout == ""


def test_what_is_no_bundle_is_told_by_its_line(
    run: Callable[..., Result], tmp_path: Path, log: Path
) -> None:
    other = tmp_path / "other.ndjson"
    other.write_bytes(log.read_bytes().replace(b'"leaf":1,', b'"leaf": 1,'))
    result = run(over=other)
    assert result.exit_code == 2
    assert "line 3" in result.stderr
    assert run(over=tmp_path / "none").exit_code == 2


def test_nothing_of_a_bundle_steers_the_terminal(
    run: Callable[..., Result], tmp_path: Path, new: Path
) -> None:
    change(new / "reveal.cedar", DISPUTES, "false")
    hostile = line_of(0, id="evt_\x1b[2J")
    over = written(tmp_path / "hostile.ndjson", HEADER, hostile, bundle.End(1, 1, 0))
    result = run(over=over)
    assert "evt_?[2J" in result.stdout
    assert "\x1b" not in result.stdout
