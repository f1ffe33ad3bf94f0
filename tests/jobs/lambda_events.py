"""What Lambda is sent by EventBridge and SQS, and what its functions leave in S3."""

from typing import Any

from tests.fakes.report_vault import ReportVault
from tests.jobs.conftest import Aws, sha256


def objects(aws: Aws, bucket: str) -> list[str]:
    found = aws.client("s3").list_object_versions(Bucket=bucket)
    return [entry["Key"] for entry in found.get("Versions", ())]


def output(aws: Aws, bucket: str, vault: ReportVault, order: str) -> bytes:
    """The one output of a run, which is what the run says it is."""
    run = vault.run_of(order)
    assert run.info["state"] == "succeeded"
    assert len(run.finishes) == 1
    assert objects(aws, bucket) == [f"outputs/{run.info['locations'][0]}"]
    answer = aws.client("s3").get_object(Bucket=bucket, Key=objects(aws, bucket)[0])
    sealed: bytes = answer["Body"].read()
    assert run.info["output_sha256"] == sha256(sealed)
    assert run.info["output_bytes"] == len(sealed)
    assert not aws.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads")
    return sealed


def as_csv(tokens: dict[str, str]) -> bytes:
    lines = ["token,email", *(f"{token},{value}" for token, value in tokens.items())]
    return "".join(f"{line}\r\n" for line in lines).encode()


def schedule(time: str = "2026-11-25T06:00:00Z") -> dict[str, Any]:
    """What EventBridge sends for a rule with a schedule."""
    return {
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "111122223333",
        "time": time,
        "region": "eu-west-1",
        "resources": ["arn:aws:events:eu-west-1:111122223333:rule/tiny"],
        "detail": {},
    }


def parts(aws: Aws, bucket: str, vault: ReportVault, order: str) -> list[bytes]:
    """The outputs of a run that was split: one of each part, and nothing beside them."""
    run = vault.run_of(order)
    assert run.info["state"] == "succeeded"
    assert len(run.finishes) == len(run.parts)
    assert objects(aws, bucket) == [f"outputs/{name}" for name in run.info["locations"]]
    assert not aws.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads")
    found = []
    for part in run.parts:
        assert part.sealed is not None
        key = f"outputs/{part.sealed['output_location']}"
        sealed = aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        assert (part.sealed["output_sha256"], part.sealed["output_bytes"]) == (
            *(sha256(sealed), len(sealed)),
        )
        found.append(sealed)
    return found


def messages(aws: Aws, queue_url: str) -> dict[str, Any]:
    """What Lambda makes of messages that it receives from a queue."""
    found = aws.client("sqs").receive_message(
        QueueUrl=queue_url,
        MaxNumberOfMessages=10,
        AttributeNames=["All"],
        MessageAttributeNames=["All"],
    )
    return {"Records": [record(message) for message in found.get("Messages", ())]}


def record(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:111122223333:reports",
        "awsRegion": "eu-west-1",
    }


def delivery(order: str, receives: int) -> dict[str, Any]:
    attributes = {
        "ApproximateReceiveCount": str(receives),
        "SentTimestamp": "1",
        "SenderId": "x",
        "ApproximateFirstReceiveTimestamp": "1",
    }
    message = {
        "MessageId": "m1",
        "ReceiptHandle": "r1",
        "Body": order,
        "MD5OfBody": "0" * 32,
        "Attributes": attributes,
    }
    return {"Records": [record(message)]}
