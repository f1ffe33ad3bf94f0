"""What production refuses in the settings: one table of rules, each with its mend.

Every rule that a start breaks is told at once, so that one look at the log is enough and no
attempt has to be made to learn the next (PCI-DSS 2.2.2, 2.2.6). No rule reaches anything but
files of this host; what the database says of its logins is looked at on each connection, by
``adapters/postgres/access.py``. No message quotes a setting that may hold a secret.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qs, urlsplit

from vault_service.configuration import Settings
from vault_service.domain.errors import ConfigurationError

_SHARED_LOGINS: Final = frozenset(
    {
        *("", "postgres", "root", "admin", "rds_superuser", "rdsadmin"),
        *("strongroom_owner", "strongroom_superuser"),
    }
)
_OPEN_TO_OTHERS: Final = 0o027
"""Mode bits that a secret's file must not have: the group may read, no more."""
_WRITABLE_BY_ALL: Final = 0o002
_FILE: Final = "file:"


class Rule(NamedTuple):
    """``offends`` gives what breaks the rule, in words, each once; ``mend`` ends the sentence."""

    name: str
    offends: Callable[[Settings], Iterator[str]]
    mend: str


@dataclass(frozen=True, slots=True)
class _Login:
    """One database connection of the settings, and the variable that names it."""

    variable: str
    url: SplitResult
    password_from: str

    def option(self, name: str) -> str:
        """An option of the URL; one that is given twice means nothing."""
        given = parse_qs(self.url.query).get(name, [])
        return given[0] if len(given) == 1 else ""


def refuse_unsafe(settings: Settings, *, database_alone: bool = False) -> None:
    """Raise :class:`ConfigurationError` that names every rule these settings break, with
    what breaks it and the mend; nothing where they break none. ``database_alone``: only the
    rules about connections to the database are looked at."""
    problems = [
        f"- {found}; {rule.mend} [{rule.name}]"
        for rule in (DATABASE_RULES if database_alone else RULES)
        for found in rule.offends(settings)
    ]
    if problems:
        raise ConfigurationError(
            "STRONGROOM_ENV=prod refuses these settings:\n" + "\n".join(problems)
        )


def _logins(settings: Settings) -> Iterator[_Login]:
    for variable, url, password_from in (
        ("STRONGROOM_DATABASE_URL", settings.database_url, settings.database_password_from),
        (
            "STRONGROOM_SEALER_DATABASE_URL",
            settings.sealer_database_url,
            settings.sealer_database_password_from,
        ),
    ):
        if url:
            yield _Login(variable, urlsplit(url), password_from)


def _embedded(settings: Settings) -> Iterator[str]:
    if settings.embedded:
        yield "the embedded database"


def _database_tls(settings: Settings) -> Iterator[str]:
    for login in _logins(settings):
        if login.option("sslmode") != "verify-full":
            yield f"{login.variable} connects without verified TLS"


def _root_certificate(settings: Settings) -> Iterator[str]:
    for login in _logins(settings):
        path = login.option("sslrootcert")
        if not path:
            yield f"{login.variable} names no root certificate"
        elif path != "system" and not os.access(path, os.R_OK):
            yield f"the root certificate of {login.variable} cannot be read"


def _tls_keys_kept(settings: Settings) -> Iterator[str]:
    for login in _logins(settings):
        if parse_qs(login.url.query).get("sslkeylogfile"):
            yield f"{login.variable} has the keys of its TLS connections written to a file"


def _shared_login(settings: Settings) -> Iterator[str]:
    for login in _logins(settings):
        if (login.url.username or "").lower() in _SHARED_LOGINS:
            yield f"{login.variable} logs in as a default user or an owner"


def _same_login(settings: Settings) -> Iterator[str]:
    names = [login.url.username for login in _logins(settings)]
    if len(names) == 2 and names[0] == names[1]:
        yield "the sealer logs in as the service"


def _stated_password(settings: Settings) -> Iterator[str]:
    for login in _logins(settings):
        if login.url.password or parse_qs(login.url.query).get("password"):
            yield f"{login.variable} holds a password"
    if settings.ambient_password:
        yield "PGPASSWORD holds a password"


def _no_password(settings: Settings) -> Iterator[str]:
    for login in _logins(settings):
        if not (login.password_from or login.url.password or login.option("sslcert")):
            yield f"{login.variable} says not where its password comes from"


def _open_files(settings: Settings) -> Iterator[str]:
    for login in _logins(settings):
        if login.password_from.startswith(_FILE):
            path = Path(login.password_from.removeprefix(_FILE))
            yield from _open_file(f"the password file of {login.variable}", path)
        if login.option("sslkey"):
            yield from _open_file(f"the TLS key of {login.variable}", Path(login.option("sslkey")))
    key = settings.tls_key or settings.tls_certificate
    if key is not None:
        yield from _open_file("the TLS key of the service", key)


def _open_file(name: str, path: Path) -> Iterator[str]:
    try:
        mode = path.stat().st_mode
    except OSError:
        yield f"{name} cannot be read"
        return
    if mode & _OPEN_TO_OTHERS:
        yield f"{name} is open to other users"


def _open_policies(settings: Settings) -> Iterator[str]:
    paths = [settings.policy_dir, *settings.policy_dir.glob("*")]
    if any(path.exists() and path.stat().st_mode & _WRITABLE_BY_ALL for path in paths):
        yield "anybody on this host may write the policies"


def _local_root_key(settings: Settings) -> Iterator[str]:
    if not settings.kms_key_arns:
        yield "the local root key"


def _local_signing_key(settings: Settings) -> Iterator[str]:
    # Each host would have a key of its own, and none accept what another signed.
    if not settings.audit_signing_key_arn:
        yield "a local signing key"


def _plain_aws(settings: Settings) -> Iterator[str]:
    for variable, url in settings.aws_endpoints.items():
        parts = urlsplit(url)
        if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
            yield f"{variable} carries keys over plain HTTP"


def _docs(settings: Settings) -> Iterator[str]:
    if settings.docs:
        yield "documentation pages"


def _other_sts(settings: Settings) -> Iterator[str]:
    if settings.sts_test_endpoint:
        yield "a replacement for AWS STS"


def _oidc(settings: Settings) -> Iterator[str]:
    for variable, url in (
        ("STRONGROOM_OIDC_ISSUER", settings.oidc_issuer),
        ("STRONGROOM_OIDC_JWKS_URL", settings.oidc_jwks_url),
    ):
        if url and not url.startswith("https://"):
            yield f"{variable} is not an https:// address"


def _half_oidc(settings: Settings) -> Iterator[str]:
    if settings.oidc_issuer and not (settings.oidc_audience and settings.oidc_jwks_url):
        yield "an OIDC issuer whose tokens are taken whoever they were made for"


def _plain_http(settings: Settings) -> Iterator[str]:
    if settings.tls_certificate or settings.trusted_proxies or _is_loopback(settings.host):
        return
    where = "every address" if settings.host in ("0.0.0.0", "::") else "the network"  # nosec B104
    yield f"plain HTTP on {where}"


def _any_proxy(settings: Settings) -> Iterator[str]:
    for text in filter(None, (part.strip() for part in settings.trusted_proxies.split(","))):
        try:
            whole = ip_network(text, strict=False).prefixlen == 0
        except ValueError:
            whole = True
        if whole:
            yield "STRONGROOM_TRUSTED_PROXIES trusts everybody, or names no address"


def _debugging(settings: Settings) -> Iterator[str]:
    for variable in settings.debugging:
        yield f"{variable} is set, with which this process tells of what it holds"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


DATABASE_RULES: Final = (
    Rule("embedded-database", _embedded, "set STRONGROOM_DATABASE_URL"),
    Rule("database-tls", _database_tls, "add ?sslmode=verify-full to it"),
    Rule(
        "database-root-certificate",
        _root_certificate,
        "add sslrootcert= with the file of the authority that signed the server's certificate",
    ),
    Rule("database-tls-keys", _tls_keys_kept, "take sslkeylogfile out of it"),
    Rule(
        "database-login",
        _shared_login,
        "give it a login of its own; `strongroom db roles` prints how",
    ),
    Rule(
        "database-sealer",
        _same_login,
        "log in as strongroom_seal in STRONGROOM_SEALER_DATABASE_URL, or unset it",
    ),
    Rule(
        "database-password",
        _stated_password,
        "take it out and set STRONGROOM_DATABASE_PASSWORD_FROM"
        " (…_SEALER_DATABASE_PASSWORD_FROM) to iam, file:/path or the ARN of a secret",
    ),
    Rule(
        "database-no-password",
        _no_password,
        "set STRONGROOM_DATABASE_PASSWORD_FROM (…_SEALER_DATABASE_PASSWORD_FROM) to iam,"
        " file:/path or the ARN of a secret",
    ),
    Rule("secret-files", _open_files, "give it to the service's user, with mode 0400 or 0440"),
)
"""What production refuses of connections to the database: also where it is migrated, by a
process that has no keys and listens nowhere."""

RULES: Final = (
    *DATABASE_RULES,
    Rule("policy-files", _open_policies, "run chmod -R o-w on STRONGROOM_POLICY_DIR"),
    Rule("root-key", _local_root_key, "set STRONGROOM_KMS_KEY_ARN_PCI and …_PII"),
    Rule("signing-key", _local_signing_key, "set STRONGROOM_AUDIT_SIGNING_KEY_ARN"),
    Rule("aws-endpoints", _plain_aws, "use https:// in it, or unset it"),
    Rule("docs-pages", _docs, "unset STRONGROOM_DOCS"),
    Rule("sts-endpoint", _other_sts, "unset STRONGROOM_STS_TEST_ENDPOINT"),
    Rule("oidc-addresses", _oidc, "use https:// in it"),
    Rule(
        "oidc-audience",
        _half_oidc,
        "set STRONGROOM_OIDC_AUDIENCE and STRONGROOM_OIDC_JWKS_URL beside it",
    ),
    Rule(
        "plain-http",
        _plain_http,
        "set STRONGROOM_TLS_CERTIFICATE and …_TLS_KEY, or name the balancer that ends TLS before"
        " the service in STRONGROOM_TRUSTED_PROXIES, or listen on 127.0.0.1",
    ),
    Rule("trusted-proxies", _any_proxy, "name the balancer's addresses or networks"),
    Rule("debugging", _debugging, "unset it"),
)
"""Everything that production refuses."""
