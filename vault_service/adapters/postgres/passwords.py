"""Where the password of a database login comes from, other than its URL (PCI-DSS 8.6.2).

A reference names the place: ``iam`` (a token of RDS for the role of this process),
``file:/path``, or the ARN of a secret in AWS Secrets Manager. The place is asked when a
connection is made, so a password that is rotated holds for the next one, without a restart.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from vault_service.adapters.aws_service import LASTING, AwsService, Patience, Reason
from vault_service.adapters.private_files import NotPrivate, read_secret
from vault_service.domain.errors import Code, ConfigurationError, VaultError

IAM: Final = "iam"
"""The reference to a token of RDS."""
FILE: Final = "file:"
"""What the reference to a file begins with."""
_RECENT_SECONDS: Final = 5.0
"""How long one answer serves: a pool makes its connections at the same time."""
_LONGEST: Final = 8192
_PATIENCE: Final = Patience(connect=1.0, read=2.0, attempts=2, deadline=4.0)
_PORT: Final = 5432
_log = structlog.get_logger("strongroom.database")


@dataclass(frozen=True, slots=True)
class Password:
    """A password, and the login it is of where the place tells (empty: the URL's)."""

    text: str = field(repr=False)
    login: str = ""


class PasswordSource(Protocol):
    """A place that passwords come from."""

    async def read(self) -> Password:
        """The password as it is now; raises ``database_unavailable``."""

    def close(self) -> None:
        """Let go of what reading took."""


def password_source(reference: str, *, host: str, port: int | None, login: str) -> PasswordSource:
    """The place that ``reference`` names, for the login at this server;
    :class:`ConfigurationError` where it names none."""
    if reference == IAM:
        return Recent(IamToken(host, port or _PORT, login))
    if reference.startswith(FILE):
        return PasswordFile(Path(reference.removeprefix(FILE)))
    if reference.startswith("arn:") and ":secretsmanager:" in reference:
        return Recent(SecretsManagerPassword(reference))
    raise ConfigurationError(
        "The password of a database login is referred to as iam, file:/path or the ARN of a"
        " secret in AWS Secrets Manager."
    )


class PasswordFile:
    """A file that holds the password and perhaps a line end, closed to other users."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> Password:
        """See :class:`PasswordSource`."""
        try:
            text = await asyncio.to_thread(read_secret, self._path, _LONGEST)
            return Password(text.decode().rstrip("\r\n"))
        except NotPrivate:
            raise _away("the file is open to other users, or no plain file") from None
        except OSError:
            raise _away("the file cannot be read") from None
        except ValueError:
            raise _away("the file is not text") from None

    def close(self) -> None:
        """See :class:`PasswordSource`."""


class SecretsManagerPassword:
    """A secret in AWS Secrets Manager: the password alone, or JSON with ``password`` and
    perhaps ``username``, as the rotation of RDS writes it."""

    def __init__(self, arn: str) -> None:
        self._arn = arn
        self._service = AwsService(
            "secretsmanager",
            "Secrets Manager",
            refusals={
                "AccessDeniedException": Reason("This role may not read the secret.", LASTING),
                "ResourceNotFoundException": Reason("The secret does not exist.", LASTING),
                "DecryptionFailure": Reason("The secret's KMS key cannot be used.", LASTING),
            },
            error=_unavailable,
            patience=_PATIENCE,
            threads=1,
            region=arn.split(":")[3],
        )

    async def read(self) -> Password:
        """See :class:`PasswordSource`."""
        return await self._service.run(self._fetch)

    def _fetch(self, client: Any) -> Password:
        try:
            answer = client.get_secret_value(SecretId=self._arn)
        except Exception as error:  # noqa: BLE001  # botocore documents no closed set
            raise self._service.translated(error) from None
        text = answer.get("SecretString") or ""
        if not text.startswith("{"):
            return Password(text)
        try:
            found = json.loads(text)
            return Password(str(found["password"]), str(found.get("username", "")))
        except (ValueError, KeyError):
            raise _away("the secret is JSON without a password") from None

    def close(self) -> None:
        """See :class:`PasswordSource`."""
        self._service.close()


class IamToken:
    """A token of RDS, good for a quarter of an hour, signed with the credentials of this
    process. Making one asks nobody but for these credentials."""

    def __init__(self, host: str, port: int, login: str) -> None:
        self._where = {"DBHostname": host, "Port": port, "DBUsername": login}
        self._service = AwsService(
            "rds", "RDS", refusals={}, error=_unavailable, patience=_PATIENCE, threads=1
        )

    async def read(self) -> Password:
        """See :class:`PasswordSource`."""
        return await self._service.run(self._sign)

    def _sign(self, client: Any) -> Password:
        try:
            return Password(client.generate_db_auth_token(**self._where))
        except Exception as error:  # noqa: BLE001  # botocore documents no closed set
            raise self._service.translated(error) from None

    def close(self) -> None:
        """See :class:`PasswordSource`."""
        self._service.close()


class Recent:
    """Asks a place once for all connections that are made within seconds. Where it is away,
    the last answer is tried: whether it still holds is for the database to say."""

    def __init__(self, source: PasswordSource, seconds: float = _RECENT_SECONDS) -> None:
        self._source = source
        self._seconds = seconds
        self._asking = asyncio.Lock()
        self._last: Password | None = None
        self._asked = 0.0

    async def read(self) -> Password:
        """See :class:`PasswordSource`."""
        async with self._asking:
            if self._last is not None and time.monotonic() - self._asked < self._seconds:
                return self._last
            try:
                self._last = await self._source.read()
            except VaultError:
                if self._last is None:
                    raise
            self._asked = time.monotonic()
            return self._last

    def close(self) -> None:
        """See :class:`PasswordSource`."""
        self._source.close()


def _unavailable(reason: Reason) -> VaultError:
    return _away(reason.detail)


def _away(reason: str) -> VaultError:
    """``database_unavailable``, the reason in the log alone: callers have no use for it."""
    _log.error("database_password_unavailable", reason=reason)
    return VaultError(
        Code.DATABASE_UNAVAILABLE,
        "The database cannot be used now; nothing was changed or revealed.",
        retry_after=2,
    )
