"""AWS identities by a presigned ``sts:GetCallerIdentity`` request (the EKS convention).

The caller signs a request to STS with its own AWS credentials and hands over the URL;
the vault sends it to STS, which answers whose signature it is. No AWS secret reaches
the vault, and the vault needs no AWS rights of its own.

The URL is input from a stranger that this process will fetch, so nothing of it is
trusted: the host must be one of the STS hosts that the AWS SDK knows, and every query
parameter one that the request needs, once. The signature must cover the header
``x-strongroom-audience``, which the vault sends with its own value: a URL that was made
for another service, or another vault, does not verify here (RFC 8725 3.9 in spirit).
Only assumed roles are accepted: no users, no root, no federated users.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from vault_service.adapters.identity.fetching import Fetcher, ProviderUnavailable
from vault_service.domain.credentials import (
    CredentialRejected,
    PresignedCall,
    VerifiedIdentity,
)
from vault_service.domain.ports import Clock

AUDIENCE_HEADER: Final = "x-strongroom-audience"
LONGEST_VALIDITY: Final = timedelta(minutes=15)
MAX_TOKEN_LENGTH: Final = 8192

_CLOCK_SKEW: Final = timedelta(minutes=1)
_REQUIRED: Final = frozenset(
    {
        "Action",
        "Version",
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
    }
)
_OPTIONAL: Final = frozenset({"X-Amz-Security-Token"})
_FIXED: Final = {
    "Action": "GetCallerIdentity",
    "Version": "2011-06-15",
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    # Exactly these two: a request that signs any other header cannot be sent by us.
    "X-Amz-SignedHeaders": f"host;{AUDIENCE_HEADER}",
}
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")
_URL: Final = re.compile(r"https?://[a-z0-9.:-]+/\?[A-Za-z0-9%&=._~+/:-]+")
_CREDENTIAL: Final = re.compile(
    r"([A-Z0-9]{16,128})/(\d{8})/([a-z0-9-]{1,32})/sts/aws4_request", re.ASCII
)
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}")
_EXPIRES: Final = re.compile(r"[1-9]\d{0,3}", re.ASCII)
_DATE: Final = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_ASSUMED_ROLE: Final = re.compile(
    r"arn:(aws[a-z-]*):sts::(\d{12}):assumed-role/([\w+=,.@-]{1,64})/[\w+=,.@-]{1,64}", re.ASCII
)
# Found by pattern, not by an XML parser: there is no document to expand entities in.
_XML_ARN: Final = re.compile(rb"<Arn>([^<>&]{1,2048})</Arn>")


def sts_hosts() -> Mapping[str, str]:
    """The STS hosts of the commercial and GovCloud partitions with their signing
    regions, as the installed AWS SDK knows them."""
    import boto3.session  # where it is used: it takes longer to load than all of this

    session = boto3.session.Session()
    regions = [
        region
        for partition in ("aws", "aws-us-gov")
        for region in session.get_available_regions("sts", partition_name=partition)
    ]
    hosts = {f"sts.{region}.amazonaws.com": region for region in regions}
    return {**hosts, "sts.amazonaws.com": "us-east-1"}


class StsVerifier:
    """Meets ``PresignedVerifier``.

    ``audience`` is the value of the audience header that callers sign. ``test_endpoint``
    (``http://127.0.0.1:5000``) replaces AWS altogether, so production must refuse it.
    """

    def __init__(
        self,
        *,
        audience: str,
        clock: Clock,
        timeout_seconds: float = 3.0,
        test_endpoint: str | None = None,
    ) -> None:
        self._audience = audience
        self._clock = clock
        self._fetcher = Fetcher(seconds=timeout_seconds, size=64 * 1024)
        if test_endpoint is None:
            self._scheme = "https"
            self._hosts: Mapping[str, str | None] = dict(sts_hosts())
        else:
            parts = urlsplit(test_endpoint)
            self._scheme = parts.scheme
            self._hosts = {parts.netloc: None}

    def inspect(self, token: str) -> PresignedCall:
        """Every check that needs no network; raises ``CredentialRejected``."""
        url = _decoded(token)
        parts = urlsplit(url)
        if parts.scheme != self._scheme or parts.netloc not in self._hosts:
            raise CredentialRejected("sts_host")
        parameters = _parameters(parts.query)
        scope = _CREDENTIAL.fullmatch(parameters["X-Amz-Credential"])
        date = parameters["X-Amz-Date"]
        if (
            scope is None
            or _DATE.fullmatch(date) is None
            or scope[2] != date[:8]
            or self._hosts[parts.netloc] not in (None, scope[3])
        ):
            raise CredentialRejected("sts_scope")
        expires_at = self._expiry(date, parameters["X-Amz-Expires"])
        return PresignedCall(scope[1], parts.netloc, parts.query, expires_at)

    def _expiry(self, date: str, seconds: str) -> datetime:
        try:
            signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise CredentialRejected("sts_scope") from None
        # STS itself honours a presigned request for 15 minutes whatever it says, so
        # a shorter life is enforced here or nowhere.
        validity = timedelta(seconds=int(seconds)) if _EXPIRES.fullmatch(seconds) else None
        now = self._clock()
        if validity is None or validity > LONGEST_VALIDITY or signed_at > now + _CLOCK_SKEW:
            raise CredentialRejected("sts_validity")
        if now >= signed_at + validity:
            raise CredentialRejected("sts_expired", expired=True)
        return signed_at + validity

    async def confirm(self, call: PresignedCall) -> VerifiedIdentity:
        """Whom STS says the signature is of, as ``role_key`` spells it."""
        answer = await self._fetcher.get(
            f"{self._scheme}://{call.host}/?{call.query}",
            {AUDIENCE_HEADER: self._audience, "accept": "application/json"},
        )
        # STS says 400 both to a bad signature and when it throttles.
        if answer.status in (400, 401, 403) and b"Throttling" not in answer.body:
            raise CredentialRejected("sts_refused")
        if answer.status != 200:
            raise ProviderUnavailable
        role = _ASSUMED_ROLE.fullmatch(_arn(answer.body))
        if role is None:
            raise CredentialRejected("sts_not_a_role")
        return VerifiedIdentity(f"arn:{role[1]}:iam::{role[2]}:role/{role[3]}", call.expires_at)

    async def close(self) -> None:
        """Close the connections to STS."""
        await self._fetcher.close()


def _decoded(token: str) -> str:
    if len(token) > MAX_TOKEN_LENGTH or _BASE64URL.fullmatch(token) is None:
        raise CredentialRejected("sts_shape")
    try:
        url = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        raise CredentialRejected("sts_shape") from None
    # The pattern leaves no room for user info, another path, a fragment or a byte that
    # two URL parsers could read differently.
    if _URL.fullmatch(url) is None:
        raise CredentialRejected("sts_shape")
    return url


def _parameters(query: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name in parameters or name not in _REQUIRED | _OPTIONAL:
            raise CredentialRejected("sts_parameters")
        parameters[name] = unquote(value)
    if not parameters.keys() >= _REQUIRED:
        raise CredentialRejected("sts_parameters")
    if any(parameters[name] != value for name, value in _FIXED.items()):
        raise CredentialRejected("sts_parameters")
    if _SIGNATURE.fullmatch(parameters["X-Amz-Signature"]) is None:
        raise CredentialRejected("sts_parameters")
    return parameters


def _arn(body: bytes) -> str:
    """The one ARN of an answer, JSON or XML; empty where there is not exactly one."""
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        found = _XML_ARN.findall(body)
        return found[0].decode("ascii", "replace") if len(found) == 1 else ""
    try:
        arn = document["GetCallerIdentityResponse"]["GetCallerIdentityResult"]["Arn"]
    except (KeyError, TypeError):
        return ""
    return arn if isinstance(arn, str) else ""
