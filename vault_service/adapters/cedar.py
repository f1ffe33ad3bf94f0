"""The policy engine: Cedar, behind :class:`~vault_service.domain.ports.PolicyEngine`.

Policies, schema and entities are parsed once. Cedar alone fails open where a
``forbid`` cannot be evaluated (it is skipped), so every evaluation is checked against
the schema and any error in its diagnostics is a denial (PCI-DSS 7.3.3, OWASP ASVS 5
16.5.3). A policy's Cedar id is its ``@id`` annotation, which is what decisions and
audit events name.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, Final

import cedarpy

from vault_service.adapters.cedar_policies import (
    Policy,
    context_reads,
    parse_policies,
    parse_schema,
    schema_findings,
)
from vault_service.adapters.policy_candidates import Candidates, policy_set
from vault_service.adapters.policy_files import PolicyBundle
from vault_service.adapters.strict_yaml import refuse
from vault_service.domain.access import (
    ON_REPORTS,
    ON_VALUES,
    AccessRequest,
    Action,
    Decision,
    Explanation,
    ReportFacts,
    Tags,
)
from vault_service.domain.principals import Principal

MEMO_SIZE: Final = 4096
"""Decisions kept; a bounded number, so that callers cannot grow the memory."""

# What `Decision.errors` names when the request itself does not fit the schema.
SCHEMA_REFUSAL: Final = "schema"

_FAILED: Final = re.compile(r"while evaluating policy `([^`]*)`")
_TIME_ATTRIBUTES: Final = frozenset({"hour", "weekday", "now"})
_ANY_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)


class CedarEngine:
    """Decides access requests by the policies of one bundle.

    Decisions are a pure function of what the policies read of a request, so they are
    memoized exactly: the key holds every input that any policy reads (the time only
    where one reads it), and a hit cannot be stale. About 60 µs without a hit.
    """

    def __init__(self, bundle: PolicyBundle) -> None:
        """Raises ``ConfigurationError`` where schema or policies do not parse, or the
        policies do not fit the schema."""
        self._bundle = bundle
        self._schema = parse_schema(bundle.schema_text)
        self.policies: Mapping[str, Policy] = parse_policies(bundle.policies_text)
        for finding in schema_findings(self.policies, bundle.policies_text, self._schema):
            refuse(
                finding.file, f"line {finding.line}", finding.detail, "run: strongroom policy check"
            )
        bodies = {name: policy.body for name, policy in self.policies.items()}
        self._set = cedarpy.PolicySet.from_json_str(policy_set(bodies))
        self._candidates = Candidates(self.policies)
        self._probes = cache(self._candidates.probes)
        reads = context_reads([policy.body for policy in self.policies.values()])
        self._reads_time = reads is None or not reads.isdisjoint(_TIME_ATTRIBUTES)
        self._reads_count = reads is None or "item_count" in reads
        self._reads_budget = reads is None or "budget_left" in reads
        self._memo = lru_cache(MEMO_SIZE)(self._evaluate)
        self._entities = lru_cache(MEMO_SIZE)(self._entities_for)

    @property
    def bundle(self) -> PolicyBundle:
        """The bundle that decides."""
        return self._bundle

    @property
    def bundle_hash(self) -> str:
        """SHA-256 (hex) of the policy bundle, recorded in every event."""
        return self._bundle.hash

    def decide(self, request: AccessRequest) -> Decision:
        """Default deny; any evaluation error is a denial."""
        return self._memo(
            request.principal,
            request.action,
            request.data_class,
            request.class_tags,
            request.token_tags,
            request.purpose,
            request.form,
            request.item_count if self._reads_count else 1,
            request.budget_left if self._reads_budget else None,
            request.at if self._reads_time else _ANY_TIME,
            request.report,
        )

    def explain(self, request: AccessRequest) -> Explanation:
        """The decision, with file and line of every policy that decided or failed, and
        where each other candidate stopped. Well under a millisecond."""
        decision = self.decide(request)
        if SCHEMA_REFUSAL in decision.errors:
            return Explanation(decision)
        named = (*decision.policies, *decision.errors)
        holding = self._ask(self._probes(), request).diagnostics.reasons
        return Explanation(
            decision=decision,
            sources=tuple(self.policies[name].source for name in named),
            candidates=self._candidates.of(decision, frozenset(holding)),
        )

    def _evaluate(
        self,
        principal: Principal,
        action: Action,
        data_class: str | None,
        class_tags: frozenset[str],
        token_tags: Tags,
        purpose: str | None,
        form: str | None,
        item_count: int,
        budget_left: int | None,
        at: datetime,
        report: ReportFacts | None,
    ) -> Decision:
        request = AccessRequest(
            principal,
            action,
            data_class,
            class_tags,
            token_tags,
            purpose,
            form,
            item_count,
            budget_left,
            at,
            report,
        )
        try:
            result = self._ask(self._set, request)
        except ValueError:
            return Decision(allowed=False, errors=(SCHEMA_REFUSAL,))
        errors = tuple(sorted({_failed_policy(text) for text in result.diagnostics.errors}))
        return Decision(
            allowed=result.allowed and not errors,
            policies=tuple(sorted(result.diagnostics.reasons)),
            errors=errors,
        )

    def _ask(self, policies: cedarpy.PolicySet, request: AccessRequest) -> cedarpy.AuthzResult:
        """What Cedar says; ``ValueError`` for a request that does not fit the schema."""
        at = request.at
        context: dict[str, Any] = {
            "item_count": request.item_count,
            "hour": at.hour,
            "weekday": at.isoweekday(),
            "now": {"__extn": {"fn": "datetime", "arg": at.strftime("%Y-%m-%dT%H:%M:%SZ")}},
        }
        if request.purpose is not None:
            context["purpose"] = request.purpose
        if request.form is not None:
            context["form"] = request.form
        if request.budget_left is not None:
            context["budget_left"] = request.budget_left
        data_class, report = request.data_class, request.report
        if (request.action in ON_VALUES) != (data_class is not None):
            raise ValueError("actions on values have a data class, others none")
        if (request.action in ON_REPORTS) != (report is not None):
            raise ValueError("actions on reports have a report, others none")
        resource = {"type": "Vault", "id": "vault"}
        if data_class is not None:
            resource = {"type": "Data", "id": data_class}
        elif report is not None:
            resource = {"type": "Report", "id": report.name}
        question = {
            "principal": {"type": "Principal", "id": request.principal.name},
            "action": {"type": "Action", "id": request.action.value},
            "resource": resource,
            "context": context,
        }
        entities = self._entities(
            request.principal, data_class, request.class_tags, request.token_tags, report
        )
        return cedarpy.is_authorized(question, policies, entities, schema=self._schema)

    def _entities_for(
        self,
        principal: Principal,
        data_class: str | None,
        class_tags: frozenset[str],
        token_tags: Tags,
        report: ReportFacts | None,
    ) -> cedarpy.Entities:
        resource: dict[str, Any] = {"uid": {"type": "Vault", "id": "vault"}, "attrs": {}}
        if data_class is not None:
            resource = {
                "uid": {"type": "Data", "id": data_class},
                "attrs": {"data_class": data_class, "class_tags": sorted(class_tags)},
                "tags": dict(token_tags),
            }
        elif report is not None:
            resource = {"uid": {"type": "Report", "id": report.name}, "attrs": report.recorded()}
        caller = {
            "uid": {"type": "Principal", "id": principal.name},
            "attrs": {
                "name": principal.name,
                "type": principal.type.value,
                "tenant": principal.tenant,
            },
            "tags": dict(principal.tags),
        }
        document = json.dumps([{**caller, "parents": []}, {**resource, "parents": []}])
        return cedarpy.Entities.from_json_str(document, self._schema)


def _failed_policy(error: str) -> str:
    """The id alone: the rest of an error's text may quote tags or other inputs."""
    match = _FAILED.search(error)
    return match[1] if match else SCHEMA_REFUSAL
