"""Loads the policy directory: catalog, principals, Cedar schema and policies.

Shapes are those of DESIGN 3.5 and ``docs/policies.md``. Every file is read once and
both parsed and hashed from the same bytes, so that the hash in an audit event names
exactly the policies that decided (PCI-DSS 10.2.1).
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vault_service.adapters.strict_yaml import Section, read_text, read_yaml, refuse
from vault_service.domain import masking, validation
from vault_service.domain.bundle import WHOLE_LOG
from vault_service.domain.catalog import Catalog, DataClass, TokenFormat
from vault_service.domain.errors import ConfigurationError
from vault_service.domain.principals import Authentication, Budget, Principal, PrincipalType
from vault_service.domain.sad import is_sad_class_name

CATALOG: Final = "catalog.yml"
PRINCIPALS: Final = "principals.yml"
SCHEMA: Final = "schema.cedarschema"
ENVIRONMENTS: Final = ("dev", "test", "prod")
# PCI-DSS 8.6.3: credentials of services are changed at least this often.
MAX_API_KEY_DAYS: Final = 90

_CLASS_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_PRINCIPAL_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}|job:[a-z][a-z0-9_]{0,62}")
_LABEL: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_ROLE_ARN: Final = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}")
_MOST: Final = 10**12
# Only where the value has digits alone and enough of them (domain/tokens.py).
_DIGIT_RULES: Final = frozenset({"luhn", "card_shape"})


@dataclass(frozen=True, slots=True)
class PolicyBundle:
    """Everything that the policy directory says.

    ``environment`` is the running ``STRONGROOM_ENV``, or ``None`` where every
    principal was loaded (checks and tests of the files themselves); ``left_out`` names
    the principals that it does not admit. ``policies_text`` is by file name, in order.
    ``vocabulary`` holds the values that each principal tag may have, by tag name.
    ``hash`` is the hexadecimal SHA-256 over all files of the bundle.
    """

    directory: Path
    environment: str | None
    catalog: Catalog
    principals: Mapping[str, Principal]
    left_out: tuple[str, ...]
    vocabulary: Mapping[str, frozenset[str]]
    policies_text: Mapping[str, str]
    schema_text: str
    hash: str


def load_bundle(directory: Path, environment: str | None) -> PolicyBundle:
    """The bundle in ``directory`` as ``environment`` (``dev``, ``test``, ``prod``) sees
    it; ``None`` loads the principals of every environment.

    Raises :class:`ConfigurationError` that names file, key and mend. The Cedar texts
    are read here and parsed by :class:`~vault_service.adapters.cedar.CedarEngine`.
    """
    if environment is not None and environment not in ENVIRONMENTS:
        raise ConfigurationError("STRONGROOM_ENV is unknown; use dev, test or prod")
    contents = _read_all(directory)
    catalog = load_catalog(contents[CATALOG])
    principals, vocabulary = load_principals(contents[PRINCIPALS], catalog)
    admitted = {
        name: principal
        for name, principal in principals.items()
        if environment is None or environment in principal.environments
    }
    return PolicyBundle(
        directory=directory,
        environment=environment,
        catalog=catalog,
        principals=admitted,
        left_out=tuple(name for name in principals if name not in admitted),
        vocabulary=vocabulary,
        policies_text={
            name: read_text(content, name)
            for name, content in contents.items()
            if name.endswith(".cedar")
        },
        schema_text=read_text(contents[SCHEMA], SCHEMA),
        hash=bundle_hash(contents),
    )


def _read_all(directory: Path) -> dict[str, bytes]:
    if not directory.is_dir():
        raise ConfigurationError(
            f"{directory} is not a directory; set STRONGROOM_POLICY_DIR to the policy files"
        )
    names = [CATALOG, PRINCIPALS, SCHEMA, *(path.name for path in directory.glob("*.cedar"))]
    contents: dict[str, bytes] = {}
    for name in sorted(names):
        try:
            contents[name] = (directory / name).read_bytes()
        except OSError:
            refuse(name, "", "cannot be read", f"put a readable file of this name in {directory}")
    return contents


def bundle_hash(contents: Mapping[str, bytes]) -> str:
    """Hexadecimal SHA-256 over (path, bytes) of all files sorted by path, each part led
    by its length as eight bytes, big-endian, so that no two bundles encode alike."""
    digest = hashlib.sha256()
    for name in sorted(contents):
        for part in (name.encode("utf-8"), contents[name]):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()


def load_catalog(content: bytes, file: str = CATALOG) -> Catalog:
    """The catalog that the bytes of ``catalog.yml`` declare."""
    top = read_yaml(content, file)
    classes = {name: _data_class(name, s) for name, s in top.named_sections("data_classes")}
    purposes = top.texts_by_name("purposes")
    for name in purposes:
        if not _LABEL.fullmatch(name):
            top.refuse(f"purposes.{name}", "a wrong name", f"it must match {_LABEL.pattern}")
    top.finish()
    return Catalog(data_classes=classes, purposes=purposes)


def _data_class(name: str, section: Section) -> DataClass:
    if not _CLASS_NAME.fullmatch(name):
        section.refuse("", "a wrong class name", f"it must match {_CLASS_NAME.pattern}")
    if is_sad_class_name(name):  # PCI-DSS 3.3.1: never stored, so never declared
        section.refuse("", "sensitive authentication data is never stored", "remove the class")
    tags = frozenset(section.texts("tags"))
    if tags.isdisjoint({"pci", "pii"}):
        section.refuse("tags", "names no sensitivity domain", "add pci or pii")
    rule = section.choice("validation", validation.RULES)
    token_format = TokenFormat(section.choice("token_format", [f.value for f in TokenFormat]))
    if token_format is TokenFormat.DIGITS and rule not in _DIGIT_RULES:
        section.refuse("token_format", "digits need a value of 12 or more digits", "use opaque")
    forms = section.texts("forms", [f for f in masking.FORMS if masking.form_fits(f, rule)])
    if "masked" not in forms:
        section.refuse("forms", "masked is missing", "add it: it is every reveal's default")
    loaded = DataClass(
        name=name,
        tags=tags,
        validation=rule,
        deterministic=section.flag("deterministic"),
        token_format=token_format,
        forms=forms,
        mask=(
            section.choice("mask", masking.MASKS)
            if section.has("mask")
            else masking.default_mask(rule)
        ),
        retention_days=(
            section.integer("retention_days", 1, 36_500) if section.has("retention_days") else None
        ),
    )
    section.finish()
    return loaded


def load_principals(
    content: bytes, catalog: Catalog, file: str = PRINCIPALS
) -> tuple[dict[str, Principal], dict[str, frozenset[str]]]:
    """All principals of ``principals.yml`` by name, of every environment, and the
    values that each principal tag may have."""
    top = read_yaml(content, file)
    vocabulary: dict[str, frozenset[str]] = {}
    if top.has("tags"):
        tags = top.section("tags")
        vocabulary = {tag: frozenset(tags.texts(tag)) for tag in tags.names()}
    principals: dict[str, Principal] = {}
    identities: set[str] = set()
    for section in top.listed_sections("principals"):
        principal = _principal(section, catalog, vocabulary)
        if principal.name in principals:
            section.refuse("name", "given twice", "names are unique over all tenants")
        ways_in = (principal.authentication.aws_role_arn, principal.authentication.oidc_subject)
        for identity in ways_in:
            if identity is not None and identity in identities:
                section.refuse("authentication", "an identity of another principal", "use its own")
            if identity is not None:
                identities.add(identity)
        principals[principal.name] = principal
    top.finish()
    return principals, vocabulary


def _principal(
    section: Section, catalog: Catalog, vocabulary: Mapping[str, frozenset[str]]
) -> Principal:
    name = section.text("name", _PRINCIPAL_NAME)
    kind = PrincipalType(section.choice("type", [t.value for t in PrincipalType]))
    if name.startswith("job:") != (kind is PrincipalType.JOB):
        section.refuse("type", "does not go with the name", "jobs, and only jobs, are job:<report>")
    tenant = section.text("tenant", _LABEL)
    if tenant == WHOLE_LOG:
        section.refuse("tenant", "is what exports of every tenant say", "choose another name")
    tags = section.texts_by_name("tags") if section.has("tags") else {}
    for tag, value in tags.items():
        if value not in vocabulary.get(tag, frozenset()):
            section.refuse(
                f"tags.{tag}", f"{value!r} is not declared", f"declare it under tags: {tag}"
            )
    budgets = (
        tuple(_budget(entry, catalog) for entry in section.listed_sections("budgets"))
        if section.has("budgets")
        else ()
    )
    principal = Principal(
        name=name,
        type=kind,
        tenant=tenant,
        tags=tags,
        budgets=budgets,
        authentication=(
            _authentication(section.section("authentication"))
            if section.has("authentication")
            else Authentication()
        ),
        environments=frozenset(
            section.texts("environments", ENVIRONMENTS)
            if section.has("environments")
            else ENVIRONMENTS
        ),
    )
    section.finish()
    return principal


def _authentication(section: Section) -> Authentication:
    days: int | None = None
    if section.has("api_key"):
        api_key = section.section("api_key")
        days = api_key.integer("max_age_days", 1, MAX_API_KEY_DAYS)
        api_key.finish()
    loaded = Authentication(
        api_key_max_age_days=days,
        oidc_subject=section.text("oidc_subject") if section.has("oidc_subject") else None,
        aws_role_arn=(
            section.text("aws_role_arn", _ROLE_ARN) if section.has("aws_role_arn") else None
        ),
    )
    section.finish()
    return loaded


def _budget(section: Section, catalog: Catalog) -> Budget:
    limits = ("tokens_per_hour", "tokens_per_day", "subjects_per_hour", "subjects_per_day")
    given = {key: section.integer(key, 1, _MOST) for key in limits if section.has(key)}
    if not given:
        section.refuse("", "a budget without a limit", f"give one of {', '.join(limits)}")
    purpose = section.choice("purpose", catalog.purposes) if section.has("purpose") else None
    section.finish()
    return Budget(purpose=purpose, **given)
