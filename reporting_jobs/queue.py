"""Messages of SQS: each body is a signed work order, and nothing else.

A message that was dealt with, for good or ill, is gone; one that another attempt may better
is told back as failed (``batchItemFailures``) and comes again. One that comes for the last
time fails its run, so that no run hangs; orders that are refused go on to the dead-letter
queue with it, where they can be looked at.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from reporting_jobs.failures import OutOfTime
from reporting_jobs.runner import Runner

LEAST_SECONDS: Final = 60.0
"""A run is not begun with less time left than this."""


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
