"""An STS that checks signatures, and the caller's side of it by the AWS SDK.

It recomputes Signature Version 4 from the request as it arrived, so a test sees whether
the vault forwards the signed request unchanged and with the right audience.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, quote, urlsplit

import botocore.auth
import botocore.session

from tests.fakes.scripted_server import Reply, Seen

AUDIENCE_HEADER = "x-strongroom-audience"


@dataclass
class Caller:
    """Somebody with AWS credentials, made up."""

    arn: str
    access_key_id: str = "ASIAEXAMPLE000000001"
    secret: str = "made-up-secret-access-key-of-a-test-0001"
    session_token: str = "made/up+session=token=="


@dataclass
class FakeSts:
    """Handler for a ``ScriptedServer``; knows ``callers`` by access key id."""

    callers: Mapping[str, Caller]
    answer_in: str = "json"
    seen: list[Seen] = field(default_factory=list)

    def __call__(self, seen: Seen) -> Reply:
        self.seen.append(seen)
        parameters = dict(parse_qsl(urlsplit(seen.path).query, keep_blank_values=True))
        access_key_id, _, scope = parameters["X-Amz-Credential"].partition("/")
        caller = self.callers.get(access_key_id)
        if caller is None or not hmac.compare_digest(
            _signature(seen, parameters, scope, caller.secret), parameters["X-Amz-Signature"]
        ):
            return Reply(403, {"Error": {"Code": "SignatureDoesNotMatch"}})
        return self._identity(caller.arn)

    def _identity(self, arn: str) -> Reply:
        if self.answer_in == "xml":
            body = (
                '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
                f"<GetCallerIdentityResult><Arn>{arn}</Arn><UserId>AROA:s</UserId>"
                "</GetCallerIdentityResult></GetCallerIdentityResponse>"
            )
            return Reply(200, media_type="text/xml", content=body.encode())
        result = {"Account": "000000000000", "Arn": arn, "UserId": "AROA:s"}
        return Reply(200, {"GetCallerIdentityResponse": {"GetCallerIdentityResult": result}})


def _signature(seen: Seen, parameters: Mapping[str, str], scope: str, secret: str) -> str:
    canonical_query = "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
        for name, value in sorted(parameters.items())
        if name != "X-Amz-Signature"
    )
    names = parameters["X-Amz-SignedHeaders"].split(";")
    headers = "".join(f"{name}:{seen.headers.get(name, '')}\n" for name in names)
    request = "\n".join(
        [
            "GET",
            "/",
            canonical_query,
            headers,
            parameters["X-Amz-SignedHeaders"],
            hashlib.sha256(b"").hexdigest(),
        ]
    )
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", parameters["X-Amz-Date"], scope, digest])
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def presigned_url(
    caller: Caller,
    *,
    audience: str,
    endpoint: str | None = None,
    region: str = "eu-west-1",
    seconds: int = 60,
    at: datetime,
) -> str:
    """A GetCallerIdentity URL as a caller makes it, with the audience header signed."""
    session = botocore.session.Session()
    session.set_credentials(caller.access_key_id, caller.secret, caller.session_token)
    client = session.create_client("sts", region_name=region, endpoint_url=endpoint)

    def add_audience(request: Any, **_: Any) -> None:
        request.headers[AUDIENCE_HEADER] = audience

    client.meta.events.register("before-sign.sts.GetCallerIdentity", add_audience)
    present = at.replace(tzinfo=None)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=present):
        url: str = client.generate_presigned_url(
            "get_caller_identity", ExpiresIn=seconds, HttpMethod="GET"
        )
    return url


def sts_token(url: str) -> str:
    """The credential that carries a presigned URL."""
    return "sts." + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
