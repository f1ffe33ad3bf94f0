"""Heavy runs through Lambda and SQS: each part a work item of its own, and one output."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reporting_jobs import wiring
from reporting_jobs.failures import OutOfTime
from reporting_jobs.sealing import SealInvalid
from reporting_jobs.settings import JobSettings
from tests.fakes.lambda_runtime import FunctionDied, FunctionFailed, LambdaRuntime
from tests.fakes.report_vault import ReportVault, altered
from tests.jobs.conftest import Aws, Function, RsaPair, opened
from tests.jobs.lambda_events import as_csv, delivery, messages, objects, output, parts
from tests.soak import times

NOTHING_FAILED: dict[str, Any] = {"batchItemFailures": []}


@pytest.fixture
def queue(aws: Aws, bucket: str) -> str:
    """The URL of a queue."""
    url: str = aws.client("sqs").create_queue(QueueName=f"queue-{bucket}")["QueueUrl"]
    return url


@pytest.fixture
def order(vault: ReportVault, reader: RsaPair) -> str:
    """The order of a run of 2,500 tokens: three parts."""
    return vault.order("tiny_parts", reader.recipient.name)


@pytest.fixture
def worker(function: Function, queue: str) -> LambdaRuntime:
    return function("queue_worker", STRONGROOM_REPORT_QUEUE_URL=queue)


def split(aws: Aws, worker: LambdaRuntime, queue: str, order: str) -> list[dict[str, Any]]:
    """The records of the parts, once the run's order was delivered."""
    assert worker.invoke(delivery(order, receives=1)) == NOTHING_FAILED
    records: list[dict[str, Any]] = messages(aws, queue)["Records"]
    return records


def whole(sealed: list[bytes], order: str, reader: RsaPair) -> bytes:
    """What the recipient has once the parts are opened and laid end to end."""
    return b"".join(
        opened(each, order, f"{number}/{len(sealed)}", private_key=reader.private)
        for number, each in enumerate(sealed, start=1)
    )


def test_parts_in_any_order_and_number_make_one_output(
    aws: Aws,
    vault: ReportVault,
    bucket: str,
    queue: str,
    worker: LambdaRuntime,
    order: str,
    reader: RsaPair,
) -> None:
    records = split(aws, worker, queue, order)
    assert len(records) == 3
    # The order comes again before any part is made, and its parts are handed on again.
    assert worker.invoke(delivery(order, receives=2)) == NOTHING_FAILED
    again = messages(aws, queue)["Records"]
    assert sorted(each["body"] for each in again) == sorted(each["body"] for each in records)
    for event in ([records[2], again[0]], [records[1], records[0]], again, records):
        assert worker.invoke({"Records": event}) == NOTHING_FAILED
    sealed = parts(aws, bucket, vault, order)
    assert whole(sealed, order, reader) == as_csv(vault.tokens)
    assert worker.invoke(delivery(order, receives=3)) == NOTHING_FAILED
    assert messages(aws, queue)["Records"] == []


def test_a_part_opens_as_itself_alone(
    aws: Aws,
    vault: ReportVault,
    bucket: str,
    function: Function,
    order: str,
    reader: RsaPair,
    stranger: RsaPair,
) -> None:
    """Without a queue a process makes the parts in turn."""
    answer = function("tiny_parts").invoke({"order": order})
    assert (answer["state"], answer["rows"]) == ("succeeded", 2500)
    first, *_ = parts(aws, bucket, vault, order)
    assert opened(first, order, "1/3", private_key=reader.private).count(b"\r\n") == 1001
    for place, key in (("2/3", reader.private), (None, reader.private), ("1/3", stranger.private)):
        with pytest.raises(SealInvalid):
            opened(first, order, place, private_key=key)


def test_a_file_that_cannot_be_laid_behind_another_stays_whole(
    aws: Aws, vault: ReportVault, bucket: str, worker: LambdaRuntime, reader: RsaPair
) -> None:
    order = vault.order("tiny_parts", reader.recipient.name, format="parquet")
    assert worker.invoke(delivery(order, receives=1)) == NOTHING_FAILED
    sealed = output(aws, bucket, vault, order)
    assert opened(sealed, order, private_key=reader.private)[:4] == b"PAR1"


def test_an_altered_part_is_refused_and_recorded(
    aws: Aws, vault: ReportVault, bucket: str, queue: str, worker: LambdaRuntime, order: str
) -> None:
    first, second, third = split(aws, worker, queue, order)
    forged = {**second, "body": altered(second["body"])}
    answer = worker.invoke({"Records": [forged, third]})
    assert answer == {"batchItemFailures": [{"itemIdentifier": second["messageId"]}]}
    assert vault.refused == [forged["body"]]
    assert [part.done for part in vault.run_of(order).parts] == [False, False, True]
    assert worker.invoke({"Records": [first, second]}) == NOTHING_FAILED
    parts(aws, bucket, vault, order)


def test_one_part_that_fails_for_now_is_told_apart(
    aws: Aws, vault: ReportVault, bucket: str, queue: str, worker: LambdaRuntime, order: str
) -> None:
    records = split(aws, worker, queue, order)
    held = vault.run_of(order).parts[1]
    held.take("another-process", 300.0)
    answer = worker.invoke({"Records": records})
    failed = [each["messageId"] for each in records if each["body"] == held.order]
    assert answer == {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}
    vault.expire_lease(held.order)
    assert worker.invoke({"Records": records}) == NOTHING_FAILED
    parts(aws, bucket, vault, order)


def test_a_part_that_cannot_be_made_fails_the_run_and_ends_the_others(
    aws: Aws, vault: ReportVault, bucket: str, queue: str, worker: LambdaRuntime, reader: RsaPair
) -> None:
    order = vault.order("tiny_parts", reader.recipient.name, parameters={"behave": "crash"})
    records = split(aws, worker, queue, order)
    assert worker.invoke({"Records": records}) == NOTHING_FAILED
    run = vault.run_of(order)
    assert (run.info["state"], run.info["rule"]) == ("failed", "report_failed")
    assert [part.attempts for part in run.parts] == [1, 0, 0]
    assert objects(aws, bucket) == []


def test_a_queue_that_is_away_leaves_the_parts_to_the_next_delivery(
    aws: Aws,
    vault: ReportVault,
    bucket: str,
    queue: str,
    function: Function,
    worker: LambdaRuntime,
    order: str,
) -> None:
    unreachable = f"{vault.url[: vault.url.rindex(':')]}:1/queue"
    cut_off = function("queue_worker", STRONGROOM_REPORT_QUEUE_URL=unreachable)
    for receives in (1, 5):
        failed = cut_off.invoke(delivery(order, receives=receives))
        assert failed == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    # Even the last time: the order goes to the dead letters, and the run can go on.
    assert vault.run_of(order).info["state"] == "running"
    records = split(aws, worker, queue, order)
    assert worker.invoke({"Records": records}) == NOTHING_FAILED
    parts(aws, bucket, vault, order)


def test_a_part_that_nears_its_time_out_is_given_back(
    aws: Aws,
    vault: ReportVault,
    bucket: str,
    queue: str,
    worker: LambdaRuntime,
    function: Function,
    order: str,
) -> None:
    records = split(aws, worker, queue, order)
    with pytest.raises(FunctionFailed) as left:
        function("tiny_parts").invoke({"order": records[0]["body"]}, seconds=15)
    assert left.value.kind == "OutOfTime"
    assert vault.run_of(order).parts[0].released == ["out_of_time"]
    assert objects(aws, bucket) == []
    assert worker.invoke({"Records": records}) == NOTHING_FAILED
    parts(aws, bucket, vault, order)


def test_an_order_that_never_has_enough_time_fails_its_run_in_the_end(
    vault: ReportVault, recipients: Path, order: str, tmp_path: Path
) -> None:
    place = str(tmp_path / "out")
    settings = JobSettings(vault.url, vault.key, place, recipients=str(recipients), token="srk_x")
    runner = wiring.runner(settings)
    with pytest.raises(OutOfTime):
        runner.run(order, remaining=lambda: 10.0)
    made = vault.run_of(order).parts[0]
    outcome = runner.run(made.order, remaining=lambda: 10.0, last=True)
    assert (outcome.state, outcome.code) == ("failed", "out_of_time")
    assert vault.run_of(order).info["rule"] == "out_of_time"
    assert made.released == ["out_of_time"]


def test_a_run_that_cannot_be_made_now_is_left_to_the_queue(
    aws: Aws,
    vault: ReportVault,
    bucket: str,
    queue: str,
    worker: LambdaRuntime,
    function: Function,
    reader: RsaPair,
) -> None:
    """By a report's own function, to which EventBridge comes three times and no more."""
    order = vault.order("tiny", reader.recipient.name)
    tiny = function(STRONGROOM_REPORT_QUEUE_URL=queue)
    assert tiny.invoke({"order": order}, seconds=15)["state"] == "running"
    run = vault.run_of(order)
    assert run.released == ["out_of_time"]
    run.take("another-process", 300.0)
    assert tiny.invoke({"order": order})["state"] == "running"
    vault.expire_lease(order)
    event = messages(aws, queue)
    assert [each["body"] for each in event["Records"]] == [order, order]
    assert worker.invoke(event) == NOTHING_FAILED
    output(aws, bucket, vault, order)


def test_kills_in_the_middle_resume_at_the_parts_that_are_not_done(
    aws: Aws,
    vault: ReportVault,
    bucket: str,
    queue: str,
    worker: LambdaRuntime,
    reader: RsaPair,
    tmp_path: Path,
    wait_for: Callable[[Callable[[], bool]], None],
) -> None:
    order = vault.order("tiny_parts", reader.recipient.name, parameters={"behave": "wait"})
    records = split(aws, worker, queue, order)
    first, *others = sorted(records, key=lambda each: _number(vault, order, each))
    (tmp_path / "go").touch()
    assert worker.invoke({"Records": [first]}) == NOTHING_FAILED
    for told in (*tmp_path.glob("waiting-*"), tmp_path / "go"):
        told.unlink()
    for kill in range(times(3, 20)):
        record = others[kill % 2]
        answer = worker.send({"Records": [record]})
        process = worker.process
        assert process is not None
        wait_for((tmp_path / f"waiting-{process.pid}").exists)
        worker.kill()
        with pytest.raises(FunctionDied):
            answer.result(10)
        vault.expire_lease(record["body"])
    assert len(objects(aws, bucket)) == 1
    (tmp_path / "go").touch()
    assert worker.invoke({"Records": [*others, first]}) == NOTHING_FAILED
    assert vault.run_of(order).parts[0].attempts == 1
    assert whole(parts(aws, bucket, vault, order), order, reader) == as_csv(vault.tokens)


@pytest.mark.parametrize("at", ["split", "seal", "finish"])
def test_a_kill_around_a_step_of_the_vault_leaves_one_output_a_part(
    aws: Aws,
    vault: ReportVault,
    bucket: str,
    function: Function,
    order: str,
    reader: RsaPair,
    wait_for: Callable[[Callable[[], bool]], None],
    at: str,
) -> None:
    """Killed when the run is cut and nobody knows it, when a part is sealed and not
    published, and when it is published and not told of."""
    tiny = function("tiny_parts")
    (vault.stuck_before if at == "finish" else vault.stuck_after).add(at)
    answer = tiny.send({"order": order})
    wait_for(vault.stuck.is_set)
    tiny.kill()
    vault.let_go()
    with pytest.raises(FunctionDied):
        answer.result(10)
    run = vault.run_of(order)
    assert len(run.parts) == 3
    assert len(objects(aws, bucket)) == (1 if at == "finish" else 0)
    for part in run.parts:
        vault.expire_lease(part.order)
    assert tiny.invoke({"order": order})["state"] == "succeeded"
    assert whole(parts(aws, bucket, vault, order), order, reader) == as_csv(vault.tokens)


def _number(vault: ReportVault, order: str, record: dict[str, Any]) -> int:
    bodies = [part.order for part in vault.run_of(order).parts]
    return bodies.index(record["body"])
