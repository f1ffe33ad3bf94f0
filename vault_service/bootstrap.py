"""The composition root: builds the adapters and hands them to the use cases."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vault_service.adapters.cedar import CedarEngine
from vault_service.adapters.identity.aws_sts import StsVerifier
from vault_service.adapters.identity.oidc import JwksCache, OidcVerifier
from vault_service.adapters.kms.aws import AwsKmsWrapper
from vault_service.adapters.kms.local import UnsafeLocalRootKey
from vault_service.adapters.kms.measured import MeasuredWrapper
from vault_service.adapters.policy_files import PolicyBundle, load_bundle
from vault_service.adapters.postgres.access import Access
from vault_service.adapters.postgres.audit_reader import PostgresAuditReader
from vault_service.adapters.postgres.budgets import PostgresBudgets
from vault_service.adapters.postgres.credentials import PostgresCredentialStore, PostgresThrottle
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.event_index import PostgresEventIndex
from vault_service.adapters.postgres.idempotency import PostgresIdempotency
from vault_service.adapters.postgres.keys import PostgresKeyStore
from vault_service.adapters.postgres.readiness import Readiness
from vault_service.adapters.postgres.subject_log import PostgresSubjectLog
from vault_service.adapters.postgres.token_store import PostgresTokenStore
from vault_service.adapters.telemetry.logs import configure_logging
from vault_service.adapters.telemetry.metrics import Metrics
from vault_service.api.application import Application
from vault_service.bootstrap_database import database_access, sealing_access
from vault_service.bootstrap_log import TransparencyLog, transparency_log
from vault_service.bootstrap_reports import report_services
from vault_service.domain.catalog import Catalog, Domain
from vault_service.domain.ports import KeyWrapper
from vault_service.domain.principals import Principal
from vault_service.domain.reports import ReportDefinition
from vault_service.services.authenticate import Authenticator
from vault_service.services.authorize import Authorizer
from vault_service.services.detokenize import Detokenize
from vault_service.services.export_audit import ExportAudit
from vault_service.services.idempotency import Idempotency
from vault_service.services.keys import Keyring
from vault_service.services.lookup import Lookup
from vault_service.services.principals import ApiKeys
from vault_service.services.proofs import Proofs
from vault_service.services.read_audit import ReadAudit
from vault_service.services.recording import Recorder
from vault_service.services.throttle import AttemptLimiter
from vault_service.services.timeline import Timeline
from vault_service.services.tokenize import Tokenize
from vault_service.services.tokens import Tokens
from vault_service.services.verification import CredentialVerifier
from vault_service.settings import Settings

if TYPE_CHECKING:
    from vault_service.adapters.telemetry.traces import Tracing

__all__ = [
    "Services",
    "configure_logging",
    "open_services",
    "traces",
    "utc_now",
    "wrappers",
]


def utc_now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Services:
    """Everything that one process of the service is made of."""

    settings: Settings
    bundle: PolicyBundle
    engine: CedarEngine
    database: Database
    store: PostgresTokenStore
    keyring: Keyring
    recorder: Recorder
    api_keys: ApiKeys
    throttle: PostgresThrottle
    idempotency: PostgresIdempotency
    budgets: PostgresBudgets
    event_index: PostgresEventIndex
    metrics: Metrics
    log: TransparencyLog
    application: Application

    @property
    def catalog(self) -> Catalog:
        """The data classes and purposes."""
        return self.bundle.catalog

    @property
    def principals(self) -> Mapping[str, Principal]:
        """All principals of this environment, by name."""
        return self.bundle.principals

    @property
    def tenants(self) -> list[str]:
        """The tenants that any principal belongs to, sorted."""
        return sorted({principal.tenant for principal in self.principals.values()})


def wrappers(settings: Settings) -> dict[Domain, AwsKmsWrapper] | dict[Domain, UnsafeLocalRootKey]:
    """The wrapping key of each sensitivity domain; the caller closes them."""
    if settings.kms_key_arns:
        by_arn = {arn: AwsKmsWrapper(arn) for arn in set(settings.kms_key_arns.values())}
        return {domain: by_arn[arn] for domain, arn in settings.kms_key_arns.items()}
    root = UnsafeLocalRootKey(settings.root_key_path)
    return dict.fromkeys(Domain, root)


@asynccontextmanager
async def open_services(
    settings: Settings,
    access: Access | None = None,
    definitions: Mapping[str, ReportDefinition] | None = None,
) -> AsyncIterator[Services]:
    """Build everything, open the database pools, close them at the end.

    ``access`` overrides the way to the database of the settings, which is guarded in
    ``prod``; ``definitions`` overrides the reports of this release. Raises
    :class:`ConfigurationError` for unusable policy files or keys; a database or KMS
    that is away is a matter of readiness and raises nothing here.
    """
    metrics = Metrics()
    bundle = load_bundle(settings.policy_dir, settings.environment)
    engine = CedarEngine(bundle)
    recorder = Recorder(engine, utc_now)
    async with AsyncExitStack() as closing:
        used = access or database_access(settings, guarded=settings.environment == "prod")
        database = Database(used)
        await database.open()
        closing.push_async_callback(database.close)
        sealing = Database(sealing_access(settings, used))
        closing.push_async_callback(sealing.close)
        store = PostgresTokenStore(database, metrics)
        closing.push_async_callback(store.settle)
        keyring = Keyring(
            PostgresKeyStore(database),
            _measured(wrappers(settings), metrics, closing),
            environment=settings.environment,
            clock=utc_now,
            monotonic=time.monotonic,
            record=recorder.key_event,
        )
        closing.callback(keyring.close)
        catalog, principals = bundle.catalog, bundle.principals
        authorizer = Authorizer(engine, catalog, utc_now, metrics.decision)
        credentials = PostgresCredentialStore(database)
        throttle = PostgresThrottle(database)
        idempotency = PostgresIdempotency(database)
        budgets = PostgresBudgets(database)
        log = transparency_log(settings, database, sealing, metrics, utc_now)
        closing.callback(log.close)
        reporting = report_services(
            settings, database, bundle, engine, authorizer, store, recorder, log, definitions
        )
        closing.callback(reporting.outputs.close)
        fence = reporting.fence
        readiness = Readiness(database, lambda: recorder.system_event("check_readiness"))
        verifier = CredentialVerifier(
            principals, credentials, utc_now, **_verifiers(settings, closing)
        )
        application = Application(
            catalog=catalog,
            authenticator=Authenticator(
                verifier, credentials, AttemptLimiter(throttle, utc_now), utc_now
            ),
            authorizer=authorizer,
            recorder=recorder,
            store=store,
            budgets=budgets,
            tokenize=Tokenize(
                catalog, authorizer, keyring, store, recorder, Idempotency(idempotency, keyring)
            ),
            detokenize=Detokenize(catalog, authorizer, keyring, store, budgets, recorder, fence),
            lookup=Lookup(catalog, authorizer, keyring, store, recorder, fence),
            tokens=Tokens(catalog, authorizer, keyring, store, recorder, fence),
            read_audit=ReadAudit(authorizer, PostgresAuditReader(database), store, recorder),
            timeline=Timeline(authorizer, PostgresSubjectLog(database), store, recorder),
            proofs=Proofs(authorizer, log.reader, store, recorder, log.signer),
            export_audit=ExportAudit(
                authorizer, log.reader, store, recorder, log.signer, log.origin
            ),
            reports=reporting.reports,
            report_approvals=reporting.approvals,
            report_jobs=reporting.jobs,
            report_parts=reporting.parts,
            report_reads=reporting.reads,
            clock=utc_now,
            observer=metrics,
            unsealed=log.unsealed,
            readiness={
                "database": readiness.database,
                "keys": keyring.probe,
                "policies": _loaded,
                "audit": readiness.audit,
            },
        )
        yield Services(
            settings=settings,
            bundle=bundle,
            engine=engine,
            database=database,
            store=store,
            keyring=keyring,
            recorder=recorder,
            api_keys=ApiKeys(principals, credentials, recorder, utc_now),
            throttle=throttle,
            idempotency=idempotency,
            budgets=budgets,
            event_index=PostgresEventIndex(database),
            metrics=metrics,
            log=log,
            application=application,
        )


def _measured(
    wrapping: Mapping[Domain, AwsKmsWrapper | UnsafeLocalRootKey],
    metrics: Metrics,
    closing: AsyncExitStack,
) -> dict[Domain, KeyWrapper]:
    for wrapper in set(wrapping.values()):
        closing.callback(wrapper.close)
    return {d: MeasuredWrapper(wrapper, metrics.kms_call) for d, wrapper in wrapping.items()}


async def _loaded() -> None:
    """Policies are loaded before the process serves at all: nothing is left to check."""


def _verifiers(settings: Settings, closing: AsyncExitStack) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if settings.oidc_issuer:
        jwks = JwksCache(settings.oidc_jwks_url, allow_plain_http=settings.environment != "prod")
        closing.push_async_callback(jwks.close)
        found["oidc"] = OidcVerifier(
            issuer=settings.oidc_issuer,
            audience=settings.oidc_audience,
            jwks=jwks,
            clock=utc_now,
        )
    if settings.sts_audience:
        sts = StsVerifier(
            audience=settings.sts_audience,
            clock=utc_now,
            test_endpoint=settings.sts_test_endpoint or None,
        )
        closing.push_async_callback(sts.close)
        found["sts"] = sts
    return found


def traces(settings: Settings) -> "Tracing":
    """Tracing, where a collector is set."""
    # Brings FastAPI and OpenTelemetry along, which an operator's command has no use for.
    from vault_service.adapters.telemetry.traces import tracing

    return tracing(settings.otlp_endpoint, environment=settings.environment)
