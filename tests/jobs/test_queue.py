"""Orders on SQS as moto plays it, polled as Lambda polls: late messages, and the dead-letter
queue with its redrive."""

import json
from typing import Any

from tests.fakes.lambda_runtime import LambdaRuntime
from tests.fakes.report_vault import ReportVault, altered
from tests.jobs.conftest import Aws, Function, RsaPair, opened
from tests.jobs.lambda_events import as_csv, messages, objects, output

RECEIVES = 2
# Longer than any turn here takes: a message comes again when a test lets it, not by itself.
HELD_SECONDS = 5400


class Queue:
    """A queue with a dead-letter queue behind it."""

    def __init__(self, aws: Aws, name: str) -> None:
        self._aws = aws
        self.sqs = aws.client("sqs")
        self.dead = self.sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.dead, AttributeNames=["QueueArn"])
        redrive = {
            "deadLetterTargetArn": arn["Attributes"]["QueueArn"],
            "maxReceiveCount": RECEIVES,
        }
        attributes = {
            "RedrivePolicy": json.dumps(redrive),
            "VisibilityTimeout": str(HELD_SECONDS),
        }
        self.url = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def send(self, order: str) -> None:
        self.sqs.send_message(QueueUrl=self.url, MessageBody=order)

    def hold(self) -> list[str]:
        """Receive what is there and do nothing with it: the receipts to let it go again."""
        return [record["receiptHandle"] for record in messages(self._aws, self.url)["Records"]]

    def let_go(self, receipt: str) -> None:
        """Have a message come again at once."""
        self.sqs.change_message_visibility(
            QueueUrl=self.url, ReceiptHandle=receipt, VisibilityTimeout=0
        )

    def turn(self, worker: LambdaRuntime, seconds: float = 900.0) -> int:
        """One batch through the worker: what fails comes again, at once. How many it had."""
        event = messages(self._aws, self.url)
        records = event["Records"]
        if not records:
            return 0
        answer = worker.invoke(event, seconds=seconds)
        failed = {entry["itemIdentifier"] for entry in answer["batchItemFailures"]}
        for record in records:
            if record["messageId"] in failed:
                self.let_go(record["receiptHandle"])
            else:
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=record["receiptHandle"])
        return len(records)

    def drain(self, worker: LambdaRuntime, seconds: float = 900.0) -> None:
        while self.turn(worker, seconds):
            pass

    def buried(self) -> list[dict[str, Any]]:
        """What is in the dead-letter queue, looked at and left there."""
        found = self.sqs.receive_message(
            QueueUrl=self.dead, MaxNumberOfMessages=10, VisibilityTimeout=0
        )
        messages: list[dict[str, Any]] = found.get("Messages", [])
        return messages

    def redrive(self) -> None:
        """Move everything back, as the console's redrive does."""
        for message in self.buried():
            self.send(message["Body"])
            self.sqs.delete_message(QueueUrl=self.dead, ReceiptHandle=message["ReceiptHandle"])


def test_a_message_that_is_late_makes_no_second_output(
    function: Function, aws: Aws, vault: ReportVault, bucket: str, reader: RsaPair
) -> None:
    queue, worker = Queue(aws, "late"), function("queue_worker")
    order = vault.order("tiny", reader.recipient.name)
    queue.send(order)
    [late] = queue.hold()
    queue.send(order)
    assert queue.turn(worker) == 1
    sealed = output(aws, bucket, vault, order)
    assert opened(sealed, order, private_key=reader.private) == as_csv(vault.tokens)
    queue.let_go(late)
    assert queue.turn(worker) == 1
    assert output(aws, bucket, vault, order) == sealed
    assert queue.turn(worker) == 0
    assert queue.buried() == []


def test_what_runs_out_of_time_is_made_after_a_redrive(
    function: Function, aws: Aws, vault: ReportVault, bucket: str, reader: RsaPair
) -> None:
    queue, worker = Queue(aws, "dead"), function("queue_worker")
    order = vault.order("tiny", reader.recipient.name)
    changed = altered(vault.order("tiny", reader.recipient.name))
    queue.send(order)
    queue.send(changed)
    # A function with hardly any time begins nothing.
    queue.drain(worker, seconds=30.0)
    assert sorted(message["Body"] for message in queue.buried()) == sorted([order, changed])
    assert objects(aws, bucket) == []
    assert vault.run_of(order).info["state"] not in ("failed", "succeeded")

    queue.redrive()
    queue.drain(worker)
    sealed = output(aws, bucket, vault, order)
    assert opened(sealed, order, private_key=reader.private) == as_csv(vault.tokens)
    # The one that was altered is refused each time and stays to be looked at.
    assert [message["Body"] for message in queue.buried()] == [changed]
    assert set(vault.refused) == {changed}
