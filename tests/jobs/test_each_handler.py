"""Every function of Lambda, as it is deployed: through ``awslambdaric``, with the real service on
one side and AWS (KMS, S3, SQS) on the other."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reporting_jobs.definitions import definitions
from reporting_jobs.sealing import SealInvalid
from tests.fakes.lambda_runtime import LambdaRuntime
from tests.jobs.conftest import Aws, opened
from tests.jobs.lambda_events import messages, schedule
from tests.reporting import people
from tests.serving import Serve, Server
from tests.synthetic import cards
from vault_service.client.report_results import RunInfo

REPORTS = sorted(definitions())
SUBJECT = "cus_1"


@dataclass
class Account:
    """An account with the functions in it, and the vault that they ask."""

    server: Server
    aws: Aws
    bucket: str
    recipient: str
    tokens: list[str]
    environment: dict[str, str]
    folder: Path

    def function(self, name: str) -> LambdaRuntime:
        place = f"reporting_jobs.handlers.{name}"
        return LambdaRuntime(place, self.environment, self.folder / f"{name}.log")

    def asked(self, report: str) -> RunInfo:
        parameters: dict[str, dict[str, Any]] = {
            "chargeback_file": {"tokens": self.tokens},
            "subject_access": {"subject": SUBJECT},
            "breach_notification": {
                "principal": "chargeback-service",
                "from": "2026-01-01T00:00:00Z",
                "to": "2099-01-01T00:00:00Z",
            },
        }
        officer = people(self.server, "compliance-officer")
        return officer.request_run(
            report, recipient=self.recipient, parameters=parameters[report], format="json"
        )

    def approved(self, run: str) -> str:
        """The order of a run that waited for its approval."""
        lead = people(self.server, "compliance-lead")
        order = lead.approve(run, binding=lead.run(run).binding).order
        assert order is not None
        return order

    def outputs(self, report: str) -> list[str]:
        found = self.aws.client("s3").list_object_versions(Bucket=self.bucket, Prefix=f"{report}/")
        return [entry["Key"] for entry in found.get("Versions", ())]


@pytest.fixture(scope="module")
def account(serve_module: Serve, moto: Aws, tmp_path_factory: pytest.TempPathFactory) -> Account:
    folder = tmp_path_factory.mktemp("account")
    bucket, recipient = moto.bucket(), moto.key()
    server = serve_module(environment={**moto.environment, "STRONGROOM_REPORT_BUCKET": bucket})
    tokens = server.caller("checkout").tokenize("pan", cards(2, seed=7), subject=SUBJECT)
    crm = server.caller("crm")
    crm.tokenize("person_name", ["Ivan Petrov"], subject=SUBJECT)
    crm.tokenize("date_of_birth", ["1970-01-02"], subject=SUBJECT)
    answer = server.caller("chargeback-service").detokenize(tokens, "chargeback")
    assert answer.status_code == 200
    (folder / "sanctions.csv").write_text("entry_id,name,birth_date\nun-1,Petrov Ivan,1970-01-02\n")
    keys = folder / "keys"
    keys.mkdir()
    for report in REPORTS:
        (keys / report).write_text(server.key(f"job:{report}"))
    environment = {
        **moto.environment,
        "STRONGROOM_URL": server.url,
        "STRONGROOM_LOG_KEY": server.caller("auditor").get("/v1/audit/key").text.strip(),
        "STRONGROOM_REPORT_OUTPUTS": f"s3://{bucket}",
        "STRONGROOM_REPORT_INPUTS": str(folder),
        "STRONGROOM_REPORT_RECIPIENT": recipient,
        "STRONGROOM_REPORT_TOKENS": str(keys),
    }
    return Account(server, moto, bucket, recipient, tokens, environment, folder)


@pytest.mark.parametrize("report", REPORTS)
def test_a_function_makes_its_report_once(account: Account, aws: Aws, report: str) -> None:
    definition = definitions()[report]
    with ExitStack() as closing:
        function = closing.enter_context(account.function(report))
        if definition.schedule is None:
            event: dict[str, Any] = {"order": account.approved(account.asked(report).id)}
        else:
            event = schedule()
        answer = function.invoke(event)
        if definition.schedule is not None and definition.needs_approval:
            assert answer["state"] == "requested"
            account.approved(answer["run"])
            answer = function.invoke(event)
        assert (answer["state"], answer["code"]) == ("succeeded", None)
        assert function.invoke(event) == answer

        run = people(account.server, f"job:{report}").run(answer["run"])
        assert run.order is not None
        # The same order from the queue finds nothing left to do.
        sqs = aws.client("sqs")
        url = sqs.create_queue(QueueName=f"of-{report}")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=run.order)
        worker = closing.enter_context(account.function("queue_worker"))
        assert worker.invoke(messages(aws, url)) == {"batchItemFailures": []}

    assert people(account.server, f"job:{report}").run(run.id).attempts == 1
    [name] = account.outputs(report)
    sealed = aws.client("s3").get_object(Bucket=account.bucket, Key=name)["Body"].read()
    content = opened(sealed, run.order, key_arn=account.recipient)
    assert content
    with pytest.raises(SealInvalid):
        opened(sealed, run.order, key_arn=aws.key())
    told = "".join(path.read_text() for path in account.folder.glob("*.log"))
    assert "Petrov" not in told
    assert not any(number in told for number in cards(2, seed=7))
