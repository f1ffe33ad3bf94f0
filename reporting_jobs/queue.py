"""Messages of SQS: each body is a signed work order, of a run or of a part of one, and
nothing else.

A message that was dealt with, for good or ill, is gone; one that another attempt may better
is told back as failed (``batchItemFailures``) and comes again. One that comes for the last
time fails its run, so that no run hangs; orders that are refused go on to the dead-letter
queue with it, where they can be looked at.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from reporting_jobs.failures import OutOfTime, RunFailed
from reporting_jobs.runner import Runner
from vault_service.domain.report_failures import FailureCode

LEAST_SECONDS: Final = 60.0
"""A run is not begun with less time left than this."""


_AT_ONCE: Final = 10
"""Messages that SQS takes in one request."""


def sender(url: str) -> Callable[[Sequence[str]], None]:
    """Puts orders on the queue at ``url``. What it gives raises ``queue_failed`` where SQS
    has not taken all of them: the next attempt sends what is still to be made."""

    def send(orders: Sequence[str]) -> None:
        from boto3.session import Session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        retries = {"mode": "standard", "total_max_attempts": 4}
        try:
            client = Session().client(
                "sqs", config=Config(connect_timeout=3, read_timeout=10, retries=retries)
            )
            for at in range(0, len(orders), _AT_ONCE):
                entries = [
                    {"Id": str(number), "MessageBody": order}
                    for number, order in enumerate(orders[at : at + _AT_ONCE])
                ]
                answer = client.send_message_batch(QueueUrl=url, Entries=entries)
                if answer.get("Failed"):
                    raise queue_failed()
        except (BotoCoreError, ClientError):
            raise queue_failed() from None

    return send


def queue_failed() -> RunFailed:
    """The parts of a run could not be put on a queue."""
    return RunFailed(
        FailureCode.QUEUE_FAILED,
        "The queue does not take the parts of the run; see that the job may send to it.",
        passing=True,
    )


def process(
    event: Mapping[str, Any],
    runner: Runner,
    *,
    receives: int,
    remaining: Callable[[], float],
) -> dict[str, Any]:
    """Work through the messages of an event of SQS; the answer names those that failed.
    ``receives`` is how often the queue delivers a message before its dead-letter queue."""
    from aws_lambda_powertools.utilities.batch import (
        BatchProcessor,
        EventType,
        process_partial_response,
    )
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

    def handle(record: SQSRecord) -> None:
        if remaining() < LEAST_SECONDS:
            raise OutOfTime
        times = int(record.attributes.approximate_receive_count)
        runner.run(record.body, remaining=remaining, last=times >= receives)

    processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
    answer: dict[str, Any] = dict(
        process_partial_response(event=dict(event), record_handler=handle, processor=processor)
    )
    return answer
