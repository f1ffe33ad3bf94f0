"""moto's KMS, made as strict as the real one where it is not.

moto lets disabled keys and keys that await deletion work, and AWS does not: the key's state
is looked up first and answered as AWS would. What stands in front of it is
:mod:`tests.fakes.kms_faults`.
"""

import base64
import json
from http.client import HTTPConnection
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

_REGION = "eu-west-1"


class StrictKms:
    """Keys as an administrator sees them, and operations as KMS allows them."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        self._moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)

    def create_key(self) -> str:
        """A new symmetric key; its ARN."""
        return str(self._admin("CreateKey", {})["KeyMetadata"]["Arn"])

    def create_signing_key(self, spec: str = "ECC_NIST_P256", usage: str = "SIGN_VERIFY") -> str:
        """A new asymmetric key; its ARN."""
        wanted = {"KeySpec": spec, "KeyUsage": usage}
        return str(self._admin("CreateKey", wanted)["KeyMetadata"]["Arn"])

    def disable(self, arn: str) -> None:
        """Disable a key, as an administrator would."""
        self._admin("DisableKey", {"KeyId": _id(arn)})

    def enable(self, arn: str) -> None:
        """Enable a key again."""
        self._admin("EnableKey", {"KeyId": _id(arn)})

    def schedule_deletion(self, arn: str) -> None:
        """Let a key await its deletion."""
        self._admin("ScheduleKeyDeletion", {"KeyId": _id(arn), "PendingWindowInDays": 7})

    def forward(self, operation: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """What moto says to this operation: HTTP status and answer."""
        host, port = self._moto.get_host_and_port()
        connection = HTTPConnection(host, port, timeout=10)
        try:
            headers = {
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": f"TrentService.{operation}",
                "Authorization": (
                    f"AWS4-HMAC-SHA256 Credential=testing/20260101/{_REGION}/kms/aws4_request,"
                    " SignedHeaders=host, Signature=0"
                ),
            }
            connection.request("POST", "/", json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"{}")
        finally:
            connection.close()

    def _barred(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """The refusal that the state of the operation's key calls for, if any."""
        state = self._state(body)
        if state == "Disabled":
            return refusal(400, "DisabledException")
        if state == "PendingDeletion":
            return refusal(400, "KMSInvalidStateException")
        return None

    def _signed(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """As KMS signs: at most 4096 bytes as they are, or a SHA-256 digest. moto takes any
        length, and a digest for a message."""
        message = base64.b64decode(body["Message"])
        if body.get("MessageType", "RAW") == "RAW":
            if len(message) > 4096:
                return refusal(400, "ValidationException")
            return self.forward("Sign", body)
        if len(message) != 32:
            return refusal(400, "ValidationException")
        from moto.core.models import DEFAULT_ACCOUNT_ID
        from moto.kms.models import kms_backends

        held: Any = kms_backends[DEFAULT_ACCOUNT_ID][_REGION].keys[_id(body["KeyId"])].private_key
        signature = held.private_key.sign(message, ec.ECDSA(Prehashed(SHA256())))
        return 200, {
            "KeyId": body["KeyId"],
            "Signature": base64.b64encode(signature).decode(),
            "SigningAlgorithm": body["SigningAlgorithm"],
        }

    def _state(self, body: dict[str, Any]) -> str | None:
        if "KeyId" not in body:
            return None
        status, described = self.forward("DescribeKey", {"KeyId": body["KeyId"]})
        return described["KeyMetadata"]["KeyState"] if status == 200 else None

    def _admin(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        status, answer = self.forward(operation, body)
        if status != 200:
            raise RuntimeError(f"moto refused {operation}")
        return answer


def _id(arn: str) -> str:
    # moto fails on ARNs in some operations.
    return arn.rpartition("/")[2]


def refusal(status: int, code: str) -> tuple[int, dict[str, Any]]:
    return status, {"__type": code, "message": "made up by the fault proxy"}
