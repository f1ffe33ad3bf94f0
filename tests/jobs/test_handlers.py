"""Each kind of event, through ``awslambdaric`` as in Lambda, with a vault on one side and AWS
on the other."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reporting_jobs.sealing import SealInvalid
from tests.fakes.lambda_runtime import FunctionDied, FunctionFailed
from tests.fakes.report_vault import ReportVault, altered
from tests.jobs.conftest import Aws, Function, RsaPair, emails, opened, ordered
from tests.jobs.lambda_events import as_csv, delivery, messages, objects, output, schedule
from tests.soak import times
from vault_service.domain.report_notes import WorkOrder


def test_a_schedule_makes_one_output_however_often_it_comes(
    function: Function, aws: Aws, vault: ReportVault, bucket: str, reader: RsaPair
) -> None:
    tiny = function()
    first = tiny.invoke(schedule())
    assert (first["state"], first["rows"]) == ("succeeded", 2500)
    assert tiny.invoke(schedule()) == first
    (run,) = vault.runs.values()
    assert run.info["period"] == "2026-11-25T06:00:00Z"
    sealed = output(aws, bucket, vault, run.order)
    assert opened(sealed, run.order, private_key=reader.private) == as_csv(vault.tokens)


def test_an_output_opens_for_its_recipient_alone(
    function: Function,
    aws: Aws,
    vault: ReportVault,
    bucket: str,
    reader: RsaPair,
    stranger: RsaPair,
) -> None:
    key = aws.key()
    order = vault.order("tiny", key, format="json")
    assert function().invoke({"order": order})["state"] == "succeeded"
    sealed = output(aws, bucket, vault, order)
    lines = opened(sealed, order, key_arn=key).splitlines()
    assert json.loads(lines[0]) == {
        "token": next(iter(vault.tokens)),
        "email": "person0@mail.example",
    }
    assert len(lines) == 2500
    for other in ({"key_arn": aws.key()}, {"private_key": stranger.private}):
        with pytest.raises(SealInvalid):
            opened(sealed, order, **other)
    with pytest.raises(SealInvalid):  # the right key, and another run
        opened(sealed, vault.order("tiny", key), key_arn=key)


def test_a_request_runs_at_once_or_waits_for_its_approval(
    function: Function, aws: Aws, vault: ReportVault, bucket: str, reader: RsaPair
) -> None:
    tiny = function()
    vault.approve_requests = False
    asked = {
        "report": "tiny",
        "parameters": {"behave": ""},
        "period": "2026-11",
        "format": "parquet",
    }
    waiting = tiny.invoke(asked)
    assert waiting["state"] == "requested"
    assert objects(aws, bucket) == []
    vault.runs[waiting["run"]].info["state"] = "approved"
    assert tiny.invoke(asked)["state"] == "succeeded"
    order = vault.runs[waiting["run"]].order
    assert (
        opened(output(aws, bucket, vault, order), order, private_key=reader.private)[:4] == b"PAR1"
    )


@pytest.mark.parametrize(
    "event",
    [
        {"report": "audit_seal"},
        {"report": "tiny", "rows": 3},
        {"order": "strongroom/report-order\n{}\n", "report": "tiny"},
        {"order": ["x"]},
    ],
)
def test_an_event_for_another_report_is_refused(
    function: Function, vault: ReportVault, event: dict[str, Any]
) -> None:
    with pytest.raises(FunctionFailed) as refused:
        function().invoke(event)
    assert refused.value.kind == "OrderRefused"
    assert vault.seen == []


def test_an_order_for_another_report_is_refused(function: Function, vault: ReportVault) -> None:
    order = vault.order("tiny", "rsa:" + "0" * 64)
    text = ordered(order)
    other = vault.sign(WorkOrder(**{**_fields(text), "report": "audit_seal"}).text())
    with pytest.raises(FunctionFailed, match="not for this job"):
        function().invoke({"order": other})


def _fields(order: WorkOrder) -> dict[str, Any]:
    return {name: getattr(order, name) for name in order.__struct_fields__}


def test_messages_are_told_apart_one_by_one(
    function: Function, aws: Aws, vault: ReportVault, bucket: str, reader: RsaPair
) -> None:
    good = vault.order("tiny", reader.recipient.name)
    changed = altered(vault.order("tiny", reader.recipient.name))
    sqs = aws.client("sqs")
    url = sqs.create_queue(QueueName="reports")["QueueUrl"]
    for body in (changed, good, good, "not an order"):
        sqs.send_message(QueueUrl=url, MessageBody=body)
    event = messages(aws, url)
    assert len(event["Records"]) == 4
    answer = function("queue_worker").invoke(event)
    failed = {entry["itemIdentifier"] for entry in answer["batchItemFailures"]}
    assert failed == {
        each["messageId"] for each in event["Records"] if each["body"] in (changed, "not an order")
    }
    assert opened(output(aws, bucket, vault, good), good, private_key=reader.private) == as_csv(
        vault.tokens
    )
    assert vault.refused == [changed]


def test_a_message_that_comes_for_the_last_time_fails_its_run(
    function: Function, aws: Aws, vault: ReportVault, bucket: str, reader: RsaPair
) -> None:
    worker = function("queue_worker")
    order = vault.order("tiny", reader.recipient.name)
    vault.deny.add("/v1/detokenize")
    event = delivery(order, receives=1)
    assert worker.invoke(event) == {"batchItemFailures": []}
    run = vault.run_of(order)
    assert (run.info["state"], run.info["code"]) == ("failed", "access_denied")
    assert objects(aws, bucket) == []


def test_what_may_pass_is_tried_until_the_lastdelivery(
    function: Function, vault: ReportVault, reader: RsaPair, aws: Aws
) -> None:
    order = vault.order("tiny", reader.recipient.name)
    unreachable = f"{vault.url[: vault.url.rindex(':')]}:1"
    worker = function("queue_worker", AWS_ENDPOINT_URL_S3=unreachable)
    again = worker.invoke(delivery(order, receives=1))
    assert again == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    run = vault.run_of(order)
    assert (run.info["state"], run.released) == ("running", ["store_failed"])
    assert worker.invoke(delivery(order, receives=5)) == {"batchItemFailures": []}
    assert (run.info["state"], run.info["rule"]) == ("failed", "store_failed")


def test_a_run_that_nears_its_time_out_is_left_to_the_nextdelivery(
    function: Function, aws: Aws, vault: ReportVault, bucket: str, reader: RsaPair
) -> None:
    order = vault.order("tiny", reader.recipient.name)
    tiny = function()
    with pytest.raises(FunctionFailed) as left:
        tiny.invoke({"order": order}, seconds=15)
    assert left.value.kind == "OutOfTime"
    assert objects(aws, bucket) == []
    assert vault.run_of(order).released == ["out_of_time"]
    # It gave its lease back: nobody has to wait for the end of it.
    assert tiny.invoke({"order": order})["state"] == "succeeded"
    output(aws, bucket, vault, order)


def test_kills_in_the_middle_leave_one_whole_output(
    function: Function,
    aws: Aws,
    vault: ReportVault,
    bucket: str,
    reader: RsaPair,
    tmp_path: Path,
    wait_for: Callable[[Callable[[], bool]], None],
) -> None:
    order = vault.order("tiny", reader.recipient.name, parameters={"behave": "wait"})
    tiny = function()
    for _ in range(times(3, 20)):
        answer = tiny.send({"order": order})
        process = tiny.process
        assert process is not None
        wait_for((tmp_path / f"waiting-{process.pid}").exists)
        tiny.kill()
        with pytest.raises(FunctionDied):
            answer.result(10)
        assert vault.run_of(order).info["state"] == "running"
        vault.expire_lease(order)
    assert objects(aws, bucket) == []
    (tmp_path / "go").touch()
    assert tiny.invoke({"order": order})["state"] == "succeeded"
    sealed = output(aws, bucket, vault, order)
    assert opened(sealed, order, private_key=reader.private) == as_csv(vault.tokens)


@pytest.mark.parametrize("at", ["seal", "finish"])
def test_a_kill_around_the_publishing_leaves_one_output(
    function: Function,
    aws: Aws,
    vault: ReportVault,
    bucket: str,
    reader: RsaPair,
    wait_for: Callable[[Callable[[], bool]], None],
    at: str,
) -> None:
    """Before the upload is completed it is made anew; after that it is taken up, so that
    no sealed file lies there that no run names."""
    order = vault.order("tiny", reader.recipient.name)
    tiny = function()
    for _ in range(times(1, 20)):
        (vault.stuck_after if at == "seal" else vault.stuck_before).add(at)
        answer = tiny.send({"order": order})
        wait_for(vault.stuck.is_set)
        tiny.kill()
        vault.let_go()
        with pytest.raises(FunctionDied):
            answer.result(10)
        assert len(objects(aws, bucket)) == (0 if at == "seal" else 1)
        vault.expire_lease(order)
    assert tiny.invoke({"order": order})["state"] == "succeeded"
    sealed = output(aws, bucket, vault, order)
    assert opened(sealed, order, private_key=reader.private) == as_csv(vault.tokens)
    attempts = vault.run_of(order).attempts
    assert (
        vault.run_of(order)
        .info["locations"][0]
        .endswith(f"/{attempts if at == 'seal' else 1}.sealed")
    )


def test_two_deliveries_at_once_make_one_output(
    function: Function,
    aws: Aws,
    vault: ReportVault,
    bucket: str,
    reader: RsaPair,
    tmp_path: Path,
    wait_for: Callable[[Callable[[], bool]], None],
) -> None:
    order = vault.order("tiny", reader.recipient.name, parameters={"behave": "wait"})
    slow, quick = function(), function()
    held = slow.send({"order": order})
    assert slow.process is not None
    wait_for((tmp_path / f"waiting-{slow.process.pid}").exists)
    with pytest.raises(FunctionFailed) as busy:
        quick.invoke({"order": order})
    assert busy.value.kind == "LeaseLost"
    # The first one's lease ends while it sleeps, and the second takes over.
    vault.expire_lease(order)
    taken = quick.send({"order": order})
    assert quick.process is not None
    wait_for((tmp_path / f"waiting-{quick.process.pid}").exists)
    (tmp_path / "go").touch()
    assert taken.result(60)["state"] == "succeeded"
    with pytest.raises(FunctionFailed) as lost:
        held.result(60)
    # It learns by a heartbeat, or as its upload was taken away.
    assert lost.value.kind in ("LeaseLost", "RunFailed")
    run = vault.run_of(order)
    assert len(run.finishes) == 1
    assert opened(
        aws.client("s3")
        .get_object(Bucket=bucket, Key=f"outputs/{run.info['locations'][0]}")["Body"]
        .read(),
        order,
        private_key=reader.private,
    ) == as_csv(vault.tokens)


def test_nothing_of_a_value_is_in_the_log_of_a_function(
    function: Function, vault: ReportVault, reader: RsaPair, tmp_path: Path
) -> None:
    tiny = function()
    crash = vault.order("tiny", reader.recipient.name, parameters={"behave": "crash"})
    assert tiny.invoke({"order": crash})["code"] == "report_failed"
    assert tiny.invoke(schedule())["state"] == "succeeded"
    told = (tmp_path / "lambda.log").read_text()
    assert "mail.example" not in told
    assert "someone@" not in told
    assert "srk_test" not in told
    assert emails(1).keys().isdisjoint(told.split())
