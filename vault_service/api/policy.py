"""``/v1/catalog``, ``/v1/whoami`` and ``/v1/policy/explain``: what the vault knows of
data classes, of the caller, and of what the caller may do. Nothing is revealed."""

import msgspec

from vault_service.api.endpoint import Answer, Call
from vault_service.api.wire import ExplainBody, decode, malformed
from vault_service.domain.access import ON_REPORTS, ON_VALUES, Action, Candidate
from vault_service.domain.metadata import check_tags

_ACTIONS = {action.value: action for action in Action}


class DataClassAnswer(msgspec.Struct):
    """One data class of the catalog."""

    name: str
    tags: list[str]
    forms: list[str]
    validation: str
    deterministic: bool
    token_format: str
    retention_days: int | None


class CatalogAnswer(msgspec.Struct):
    """The answer of ``GET /v1/catalog``."""

    data_classes: dict[str, DataClassAnswer]
    purposes: dict[str, str]


class BudgetAnswer(msgspec.Struct, omit_defaults=True):
    """One reveal budget; an absent limit is no limit, an absent purpose any."""

    purpose: str | None = None
    tokens_per_hour: int | None = None
    tokens_per_day: int | None = None
    subjects_per_hour: int | None = None
    subjects_per_day: int | None = None


class WhoamiAnswer(msgspec.Struct):
    """The answer of ``GET /v1/whoami``."""

    principal: str
    type: str
    tenant: str
    tags: dict[str, str]
    budgets: list[BudgetAnswer]
    policy_hash: str
    request_id: str


class SourceAnswer(msgspec.Struct):
    """Where a policy that decided, or could not be evaluated, is written."""

    id: str
    file: str
    line: int


class CandidateAnswer(msgspec.Struct, omit_defaults=True):
    """A policy on the action that did not decide. ``unmatched`` are the parts of its scope
    that the request is outside of; ``condition`` is the kind of condition that did not
    hold, ``clause`` and ``part`` say which, from 1. With none of these it applied, but a
    ``forbid`` outweighs it."""

    id: str
    file: str
    line: int
    effect: str
    unmatched: list[str] = []
    condition: str | None = None
    clause: int | None = None
    part: int | None = None


class ExplainAnswer(msgspec.Struct):
    """The answer of ``POST /v1/policy/explain``."""

    allowed: bool
    decision: str
    policies: list[str]
    errors: list[str]
    sources: list[SourceAnswer]
    candidates: list[CandidateAnswer]
    form: str | None
    budget_left: int | None
    policy_hash: str
    request_id: str


_encode = msgspec.json.Encoder().encode


async def catalog(call: Call) -> Answer:
    """Data classes with tags and forms, and purposes."""
    found = call.application.catalog
    return Answer(
        _encode(
            CatalogAnswer(
                {
                    name: DataClassAnswer(
                        name,
                        sorted(c.tags),
                        list(c.forms),
                        c.validation,
                        c.deterministic,
                        c.token_format.value,
                        c.retention_days,
                    )
                    for name, c in found.data_classes.items()
                },
                dict(found.purposes),
            )
        )
    )


async def whoami(call: Call) -> Answer:
    """Who the vault thinks the caller is."""
    principal = call.context.principal
    return Answer(
        _encode(
            WhoamiAnswer(
                principal.name,
                principal.type.value,
                principal.tenant,
                dict(principal.tags),
                [
                    BudgetAnswer(
                        b.purpose,
                        b.tokens_per_hour,
                        b.tokens_per_day,
                        b.subjects_per_hour,
                        b.subjects_per_day,
                    )
                    for b in principal.budgets
                ],
                call.application.authorizer.bundle_hash,
                call.context.request_id,
            )
        )
    )


async def explain(call: Call) -> Answer:
    """What the policies would decide on a request of the caller's, which of them, and why
    not by others."""
    call.check_media_type()
    body = decode(call.body, ExplainBody)
    application, principal = call.application, call.context.principal
    action = _ACTIONS.get(body.action)
    if action is None:
        raise malformed("enum", "There is no such action.", "action")
    if (action in ON_VALUES) != (body.data_class is not None):
        raise malformed(
            "required",
            "Name a data_class for actions on values, and for no others.",
            "data_class",
        )
    report = None
    if (action in ON_REPORTS) != (body.report is not None):
        raise malformed(
            "required", "Name a report for actions on reports, and for no others.", "report"
        )
    if body.report is not None:
        definition = application.reports.definitions.get(body.report)
        if definition is None:
            raise malformed("unknown_report", "GET /v1/reports lists the reports.", "report")
        report = definition.facts()
    if not 1 <= body.item_count <= 10_000:
        raise malformed("range", "item_count is from 1 to 10,000.", "item_count")
    data_class = None
    if body.data_class is not None:
        data_class = application.catalog.data_class(body.data_class)
    form = body.form
    budget_left = None
    if body.purpose is not None:
        purpose = application.authorizer.check_purpose(body.purpose)
        budget_left = await application.budgets.left(
            principal.tenant,
            principal.name,
            purpose,
            principal.budgets_for(purpose),
            call.context.at,
        )
    if action is Action.DETOKENIZE:
        form = form or "masked"
        if data_class is not None and form not in data_class.forms:
            raise malformed("enum", "The data class does not declare this form.", "form")
    authorizer = application.authorizer
    # Always about the caller: what another may do is not for the asking.
    explanation = authorizer.explain(
        authorizer.request(
            principal,
            action,
            data_class=data_class,
            tags=check_tags(body.tags, "tags"),
            purpose=body.purpose,
            form=form,
            item_count=body.item_count,
            budget_left=budget_left,
            report=report,
        )
    )
    decision = explanation.decision
    return Answer(
        _encode(
            ExplainAnswer(
                decision.allowed,
                "allow" if decision.allowed else "deny",
                list(decision.policies),
                list(decision.errors),
                [SourceAnswer(s.id, s.file, s.line) for s in explanation.sources],
                [_candidate(each) for each in explanation.candidates],
                form if decision.allowed else None,
                budget_left,
                authorizer.bundle_hash,
                call.context.request_id,
            )
        )
    )


def _candidate(candidate: Candidate) -> CandidateAnswer:
    # The condition's text may name other principals and their tags: it stays in the files.
    source = candidate.source
    return CandidateAnswer(
        source.id,
        source.file,
        source.line,
        candidate.effect,
        list(candidate.unmatched),
        candidate.kind,
        candidate.clause,
        candidate.part,
    )
