"""A heavy run on the real service: cut into parts, killed, and one output in its reader's
hands that the manifest verifies."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner

from reporting_jobs import settings, wiring
from reporting_jobs.definitions import definitions
from reporting_jobs.failures import RunFailed
from reporting_jobs.reports import sanctions_screening
from reporting_jobs.runner import Runner
from tests.fakes.report_vault import altered
from tests.jobs.conftest import RsaPair
from tests.reporting import people
from tests.serving import Serve, Server
from vault_service.cli.reports import app
from vault_service.client.report_results import RunInfo
from vault_service.domain.report_failures import FailureCode
from vault_service.domain.report_parts import Split

PEOPLE: Final = 11
SPLIT: Final = Split("person_name", 3)
PROGRAM: Final = """
import dataclasses, os, uvicorn
from reporting_jobs.reports import sanctions_screening as report
from vault_service.domain.report_parts import Split
report.DEFINITION = dataclasses.replace(report.DEFINITION, split=Split("person_name", 3))
uvicorn.run("vault_service.asgi:create", factory=True, host="127.0.0.1",
    port=int(os.environ["STRONGROOM_PORT"]), access_log=False, log_config=None)
"""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The screening in parts of three names, for the jobs of this process."""
    definition = dataclasses.replace(sanctions_screening.DEFINITION, split=SPLIT)
    monkeypatch.setattr(sanctions_screening, "DEFINITION", definition)
    definitions.cache_clear()
    yield
    definitions.cache_clear()


@dataclasses.dataclass
class World:
    """A vault with people who are all on the list, and a place for their screening."""

    server: Server
    folder: Path
    reader: RsaPair

    def request(self, format: str, row_cap: int | None = None) -> RunInfo:
        run = people(self.server, "compliance-officer").request_run(
            "sanctions_screening",
            recipient=self.reader.recipient.name,
            format=format,
            row_cap=row_cap,
        )
        return people(self.server, "compliance-lead").approve(run.id, binding=run.binding)

    def runner(self) -> Runner:
        return wiring.runner(
            settings.load(
                {
                    "STRONGROOM_URL": self.server.url,
                    "STRONGROOM_LOG_KEY": self.key,
                    "STRONGROOM_REPORT_OUTPUTS": str(self.server.home / "reports"),
                    "STRONGROOM_REPORT_RECIPIENTS": str(self.folder),
                    "STRONGROOM_REPORT_INPUTS": str(self.folder),
                    "STRONGROOM_TOKEN": self.server.key("job:sanctions_screening"),
                }
            )
        )

    @property
    def key(self) -> str:
        return self.server.caller("auditor").get("/v1/audit/key").text.strip()

    def delivered(self, run: RunInfo) -> Path:
        """The sealed output in its reader's hands, with manifest and keys beside it."""
        officer = people(self.server, "compliance-officer")
        done = officer.run(run.id)
        assert done.manifest is not None
        (self.folder / f"{run.id}.manifest").write_text(done.manifest)
        (self.folder / "log.key").write_text(self.key)
        (self.folder / "reader.pem").write_bytes(self.reader.private)
        sealed = self.folder / f"{run.id}.sealed"
        assert officer.output(run.id, sealed) == done.output_bytes
        return sealed

    def command(self, verb: str, sealed: Path, *more: str) -> tuple[int, str]:
        manifest = str(sealed.with_suffix(".manifest"))
        result = CliRunner().invoke(app, [verb, str(sealed), "--manifest", manifest, *more])
        return result.exit_code, result.output

    def opened(self, run: RunInfo) -> bytes:
        """What the commands of the reader make of it: verified, then opened."""
        sealed = self.delivered(run)
        code, told = self.command("verify", sealed, "--key", str(self.folder / "log.key"))
        assert code == 0, told
        out = self.folder / f"{run.id}.out"
        keys = ["--key", str(self.folder / "reader.pem"), "--log-key", str(self.folder / "log.key")]
        code, told = self.command("open", sealed, *keys, "-o", str(out))
        assert code == 0, told
        return out.read_bytes()


@pytest.fixture
def world(serve: Serve, small: None, tmp_path: Path, reader: RsaPair) -> World:
    server = serve(program=PROGRAM)
    names = [f"Anna Muster{chr(97 + number)}" for number in range(PEOPLE)]
    server.caller("crm").tokenize("person_name", names)
    entries = "".join(f"un-{number},{name},\n" for number, name in enumerate(names))
    (tmp_path / "sanctions.csv").write_text(f"entry_id,name,birth_date\n{entries}")
    digest = reader.recipient.name.removeprefix("rsa:")
    (tmp_path / f"{digest}.pem").write_text(reader.public)
    return World(server, tmp_path, reader)


def kept(world: World, run: RunInfo) -> list[str]:
    place = world.server.home / "reports" / run.report / run.id
    return sorted(str(path.relative_to(place)) for path in place.rglob("*.sealed"))


@pytest.mark.parametrize("format", ["csv", "json"])
def test_parts_give_what_the_whole_gives(world: World, format: str) -> None:
    run = world.request(format)
    outcome = world.runner().run(run.order or "")
    assert (outcome.state, outcome.repeated) == ("succeeded", False)
    assert kept(world, run) == [f"part-{number:04}/1.sealed" for number in range(1, 5)]
    found = world.opened(run)
    vault = world.server.caller("auditor")
    assert len(found.splitlines()) == (outcome.rows or 0) + (format == "csv")
    assert (outcome.rows or 0) >= PEOPLE
    # Each token once, in the order of tokens, as a run that stays whole has it.
    whole = world.request("parquet")
    assert world.runner().run(whole.order or "").rows == outcome.rows
    assert kept(world, whole) == ["1.sealed"]
    assert [e["detail"]["parts"] for e in vault.events(action="report_split")] == [4]


def test_a_file_with_its_parts_in_another_order_does_not_verify(world: World) -> None:
    run = world.request("csv")
    world.runner().run(run.order or "")
    sealed = world.delivered(run)
    lengths = [path.stat().st_size for path in _parts(world, run)]
    whole = sealed.read_bytes()
    turned = whole[lengths[0] : sum(lengths[:2])] + whole[: lengths[0]] + whole[sum(lengths[:2]) :]
    for content in (turned, whole[: -lengths[-1]], whole + b"x"):
        sealed.write_bytes(content)
        assert world.command("verify", sealed, "--key", str(world.folder / "log.key"))[0] == 1
        out = str(world.folder / "out")
        key = str(world.folder / "reader.pem")
        assert world.command("open", sealed, "--key", key, "-o", out)[0] == 1
        assert not Path(out).exists()
    part = sealed.with_name(f"{run.id}.part")
    part.with_suffix(".manifest").write_bytes(sealed.with_suffix(".manifest").read_bytes())
    part.write_bytes(whole[lengths[0] : sum(lengths[:2])])
    log_key = str(world.folder / "log.key")
    assert world.command("verify", part, "--key", log_key, "--part", "2")[0] == 0
    assert world.command("verify", part, "--key", log_key, "--part", "1")[0] == 1
    assert world.command("verify", part, "--key", log_key, "--part", "9")[0] == 1


def _parts(world: World, run: RunInfo) -> list[Path]:
    place = world.server.home / "reports" / run.report / run.id
    return sorted(place.rglob("*.sealed"))


def test_orders_of_parts_in_any_order_and_number(world: World) -> None:
    run = world.request("csv")
    orders: list[str] = []
    runner = dataclasses.replace(world.runner(), hand_on=orders.extend)
    assert runner.run(run.order or "").state == "running"
    assert len(orders) == 4
    outcomes = [runner.run(order) for order in [*reversed(orders), *orders]]
    assert [each.state for each in outcomes] == ["running"] * 3 + ["succeeded"] * 5
    assert [each.repeated for each in outcomes] == [False] * 4 + [True] * 4
    assert runner.run(run.order or "").repeated
    assert len(world.opened(run).splitlines()) >= PEOPLE
    with pytest.raises(Exception, match="altered"):
        runner.run(altered(orders[0]))
    refused = world.server.caller("auditor").events(action="report_order_refused")
    assert [event["detail"]["run"] for event in refused] == [run.id]


def test_too_many_rows_of_all_parts_stop_before_they_are_published(world: World) -> None:
    run = world.request("csv", row_cap=40)
    outcome = world.runner().run(run.order or "")
    assert (outcome.state, outcome.code) == ("failed", "row_cap_exceeded")
    ended = people(world.server, "compliance-officer").run(run.id)
    assert (ended.state, ended.rule, ended.parts_done) == ("failed", "row_cap_exceeded", 1)
    assert kept(world, run) == ["part-0001/1.sealed"]


class Killed(BaseException):
    """What ends a process, as far as the code can see."""


@pytest.mark.parametrize("at", ["seal", "finish"])
def test_what_was_published_before_a_kill_is_taken_up(
    world: World, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the second part, after it was sealed or after it was published."""
    from vault_service.client.report_lease import RunLease

    run = world.request("csv")
    calls = 0
    step: Callable[..., RunInfo] = getattr(RunLease, at)

    def killed(lease: RunLease, **told: object) -> RunInfo:
        nonlocal calls
        calls += 1
        if calls == 2 and at == "finish":
            raise Killed
        found = step(lease, **told)
        if calls == 2:
            raise Killed
        return found

    with monkeypatch.context() as patch:
        patch.setattr(RunLease, at, killed)
        with pytest.raises(Killed):
            world.runner().run(run.order or "")
    assert len(kept(world, run)) == (2 if at == "finish" else 1)
    world.server.query(
        "UPDATE strongroom.report_parts SET lease_until = now() WHERE run = %s AND NOT done", run.id
    )
    assert world.runner().run(run.order or "").state == "succeeded"
    second = "part-0002/1.sealed" if at == "finish" else "part-0002/2.sealed"
    assert kept(world, run) == [
        *("part-0001/1.sealed", second, "part-0003/1.sealed", "part-0004/1.sealed"),
    ]
    assert len(world.opened(run).splitlines()) >= PEOPLE


def test_a_queue_that_fails_leaves_the_run_to_the_next_attempt(world: World) -> None:
    run = world.request("csv")

    def fails(_: object) -> None:
        raise RunFailed(FailureCode.QUEUE_FAILED, "away", passing=True)

    runner = dataclasses.replace(world.runner(), hand_on=fails)
    with pytest.raises(RunFailed):
        runner.run(run.order or "", last=True)
    assert people(world.server, "compliance-officer").run(run.id).state == "running"
    assert world.runner().run(run.order or "").state == "succeeded"
