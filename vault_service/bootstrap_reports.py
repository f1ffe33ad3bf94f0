"""The composition root's part for reports: runs, approvals, what jobs may read."""

from collections.abc import Mapping
from dataclasses import dataclass

from reporting_jobs.definitions import definitions
from vault_service.adapters.cedar import CedarEngine
from vault_service.adapters.outputs.file import FileOutputs
from vault_service.adapters.outputs.s3 import S3Outputs
from vault_service.adapters.policy_files import PolicyBundle
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.holdings import PostgresHoldings
from vault_service.adapters.postgres.report_parts import PostgresReportParts
from vault_service.adapters.postgres.reports import PostgresReports
from vault_service.adapters.postgres.token_ranges import PostgresTokenRanges
from vault_service.bootstrap_log import TransparencyLog
from vault_service.domain.ports import TokenStore
from vault_service.domain.reports import ReportDefinition
from vault_service.domain.rights import HeldPolicy, Rights
from vault_service.services.authorize import Authorizer
from vault_service.services.recording import Recorder
from vault_service.services.report_approvals import ReportApprovals
from vault_service.services.report_fence import JobFence
from vault_service.services.report_jobs import ReportJobs
from vault_service.services.report_parts import ReportParts
from vault_service.services.report_reads import ReportReads
from vault_service.services.report_results import Results
from vault_service.services.report_runs import Runs
from vault_service.services.reports import Reports
from vault_service.settings import Settings


@dataclass(slots=True)
class ReportServices:
    """The use cases of reports of one process."""

    reports: Reports
    approvals: ReportApprovals
    jobs: ReportJobs
    parts: ReportParts
    reads: ReportReads
    fence: JobFence
    outputs: FileOutputs | S3Outputs


def report_services(
    settings: Settings,
    database: Database,
    bundle: PolicyBundle,
    engine: CedarEngine,
    authorizer: Authorizer,
    store: TokenStore,
    recorder: Recorder,
    log: TransparencyLog,
    known: Mapping[str, ReportDefinition] | None = None,
) -> ReportServices:
    """Reports on these settings, those of this release unless others are ``known``;
    :class:`ConfigurationError` for an unusable bucket."""
    runs = Runs(
        definitions() if known is None else known,
        bundle.principals,
        authorizer,
        PostgresReports(database),
        PostgresReportParts(database),
        store,
        recorder,
        log.signer,
    )
    fence = JobFence(runs)
    outputs = output_store(settings)
    results = Results(runs, log.reader)
    jobs = ReportJobs(runs, fence, results)
    rights = Rights(
        engine.bundle_hash,
        [HeldPolicy(policy.source, policy.body) for policy in engine.policies.values()],
        list(bundle.principals.values()),
    )
    return ReportServices(
        reports=Reports(runs, outputs),
        approvals=ReportApprovals(runs),
        jobs=jobs,
        parts=ReportParts(runs, fence, jobs, results, PostgresTokenRanges(database)),
        reads=ReportReads(runs, fence, PostgresHoldings(database), bundle.catalog, rights),
        fence=fence,
        outputs=outputs,
    )


def output_store(settings: Settings) -> FileOutputs | S3Outputs:
    """Where sealed outputs lie."""
    if settings.report_bucket:
        return S3Outputs(settings.report_bucket)
    return FileOutputs(settings.reports_path)
