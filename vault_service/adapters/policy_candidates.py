"""Why a policy did not apply: Cedar itself is asked part by part.

Cedar names the policies that decided and nothing else. So each part of every policy's
scope, and each condition up to each of its terms, becomes a probe: a ``permit`` of its
own that holds exactly where Cedar finds that much of the policy to hold. One evaluation
of all probes tells where each policy stopped, by Cedar's own semantics.
"""

import json
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import cedarpy

from vault_service.adapters.cedar_policies import Policy
from vault_service.domain.access import Candidate, Decision

SCOPE: Final = ("principal", "action", "resource")
_ANY: Final[Mapping[str, Any]] = {"op": "All"}
_ANYONE: Final = dict.fromkeys(SCOPE, _ANY)


@dataclass(frozen=True, slots=True)
class _Term:
    """A term of a policy's conditions; ``upto`` are the conditions up to and with it."""

    probe: str
    kind: str
    clause: int
    part: int
    body: Mapping[str, Any]
    upto: tuple[Mapping[str, Any], ...]


class Candidates:
    """The probes of a policy set, and what their answers mean."""

    def __init__(self, policies: Mapping[str, Policy]) -> None:
        self._policies = policies
        self._terms = {name: list(_terms(name, p.body)) for name, p in policies.items()}
        self._text = lru_cache(None)(self._term_text)

    def probes(self) -> cedarpy.PolicySet:
        """All probes, to be asked the request in question."""
        found: dict[str, Any] = {}
        for name, policy in self._policies.items():
            scope = {part: policy.body[part] for part in SCOPE}
            for part in SCOPE:
                found[_scope_probe(name, part)] = _probe({**_ANYONE, part: scope[part]}, ())
            for term in self._terms[name]:
                found[term.probe] = _probe(scope, term.upto)
        return cedarpy.PolicySet.from_json_str(policy_set(found))

    def of(self, decision: Decision, holding: Set[str]) -> tuple[Candidate, ...]:
        """Why each candidate had no part in ``decision``; ``holding`` are the probes that
        Cedar found to hold. In the order of the files."""
        named = {*decision.policies, *decision.errors}
        return tuple(
            self._candidate(policy, holding)
            for name, policy in self._policies.items()
            if name not in named and self._may_apply(policy, holding)
        )

    def _may_apply(self, policy: Policy, holding: Set[str]) -> bool:
        """Whether it is about the action, or names the principal."""
        name = policy.source.id
        names_principal = policy.body["principal"] != _ANY
        return _scope_probe(name, "action") in holding or (
            names_principal and _scope_probe(name, "principal") in holding
        )

    def _candidate(self, policy: Policy, holding: Set[str]) -> Candidate:
        source, effect = policy.source, policy.body["effect"]
        outside = tuple(part for part in SCOPE if _scope_probe(source.id, part) not in holding)
        if outside:
            return Candidate(source, effect, outside)
        for number, term in enumerate(self._terms[source.id]):
            if term.probe not in holding:
                text = self._text(source.id, number)
                return Candidate(source, effect, (), term.kind, term.clause, term.part, text)
        return Candidate(source, effect)

    def _term_text(self, name: str, number: int) -> str:
        condition = {"kind": "when", "body": self._terms[name][number].body}
        document = policy_set({"0": _probe(_ANYONE, (condition,))})
        text: str = cedarpy.policies_from_json_str(document)
        return text.partition("{")[2].rpartition("}")[0].strip()


def policy_set(policies: Mapping[str, Any]) -> str:
    """The JSON of a Cedar policy set, from the JSON form of each policy by its id."""
    return json.dumps({"templates": {}, "templateLinks": [], "staticPolicies": policies})


def _scope_probe(name: str, part: str) -> str:
    return f"{name}/{part}"


def _probe(scope: Mapping[str, Any], conditions: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    return {"effect": "permit", **scope, "conditions": conditions}


def _terms(name: str, body: Mapping[str, Any]) -> Iterator[_Term]:
    conditions = body["conditions"]
    for clause, condition in enumerate(conditions, 1):
        kind, before = condition["kind"], tuple(conditions[: clause - 1])
        whole = condition["body"]
        # An `unless` fails as a whole: no term of it alone is at fault.
        terms = _conjuncts(whole) if kind == "when" else [(whole, whole)]
        for part, (term, prefix) in enumerate(terms, 1):
            upto = (*before, {"kind": kind, "body": prefix})
            yield _Term(f"{name}/{clause}.{part}", kind, clause, part, term, upto)


def _conjuncts(
    body: Mapping[str, Any],
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Each term of ``a && b && c`` with what ends in it: ``a``, ``a && b``, all of it.
    Cedar nests them to the left."""
    if "&&" in body:
        yield from _conjuncts(body["&&"]["left"])
        yield body["&&"]["right"], body
    else:
        yield body, body
