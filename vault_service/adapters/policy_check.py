"""Checks a policy directory as a whole: do its files fit each other?

Cedar's validator knows the schema but not the catalog or the principals: a policy that
asks for ``duty == "dispute"`` where principals carry ``disputes`` is valid and never
applies. These checks find such names.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from vault_service.adapters.cedar_policies import (
    Finding,
    Policy,
    parse_policies,
    parse_schema,
    schema_findings,
)
from vault_service.adapters.policy_cases import load_cases
from vault_service.adapters.policy_files import PolicyBundle
from vault_service.domain.errors import ConfigurationError
from vault_service.domain.principals import PrincipalType
from vault_service.domain.reports import Classification

# What a policy may ask about, by the Cedar expression that asks for it.
_ATTRIBUTES = {
    ("resource", "data_class"): "data class",
    ("resource", "class_tags"): "class tag",
    ("resource", "purpose"): "purpose",
    ("resource", "data_classes"): "data class",
    ("resource", "forms"): "form",
    ("resource", "classifications"): "classification",
    ("resource", "requester"): "principal",
    ("context", "purpose"): "purpose",
    ("context", "form"): "form",
    ("principal", "type"): "principal type",
    ("principal", "name"): "principal",
    ("principal", "tenant"): "tenant",
}


def validate(bundle: PolicyBundle) -> list[Finding]:
    """Everything wrong with the bundle's policies and cases; empty where all is well.

    ``bundle`` is loaded for all environments, so that policies may name principals of
    any.
    """
    try:
        schema = parse_schema(bundle.schema_text)
        policies = parse_policies(bundle.policies_text)
    except ConfigurationError as error:
        return [Finding("", 0, "load", str(error))]
    findings = schema_findings(policies, bundle.policies_text, schema)
    known = _known(bundle)
    for policy in policies.values():
        findings.extend(_unknown_names(policy, known))
    if not policies:
        findings.append(Finding("", 0, "empty", "no policy at all: everything is denied"))
    try:
        cases = load_cases(bundle)
    except ConfigurationError as error:
        findings.append(Finding("", 0, "cases", str(error)))
    else:
        for case in cases:
            for name in (*case.expected.policies, *case.expected.errors):
                if name not in policies:
                    detail = f"case {case.name!r} expects the policy {name!r}, which is not there"
                    findings.append(Finding(case.file, 0, "cases", detail))
    return findings


def _known(bundle: PolicyBundle) -> dict[str, frozenset[str]]:
    classes = bundle.catalog.data_classes.values()
    principals = bundle.principals.values()
    known = {
        "data class": frozenset(bundle.catalog.data_classes),
        "class tag": frozenset(tag for c in classes for tag in c.tags),
        "purpose": frozenset(bundle.catalog.purposes),
        "form": frozenset(form for c in classes for form in c.forms),
        "principal type": frozenset(kind.value for kind in PrincipalType),
        "principal": frozenset(bundle.principals),
        "classification": frozenset(kind.value for kind in Classification),
        "tenant": frozenset(p.tenant for p in principals),
        "principal tag": frozenset(bundle.vocabulary),
    }
    for tag, values in bundle.vocabulary.items():
        known[f"value of the principal tag {tag}"] = values
    return known


def _unknown_names(policy: Policy, known: Mapping[str, frozenset[str]]) -> Iterator[Finding]:
    for kind, name in sorted(set(_names(policy.body))):
        if name not in known.get(kind, frozenset((name,))):
            source = policy.source
            detail = f"{source.id}: {name!r} is no {kind} of this catalog and these principals"
            yield Finding(source.file, source.line, "unknown name", detail)


def _names(node: Any) -> Iterator[tuple[str, str]]:
    """Every (kind, name) that the Cedar JSON ``node`` compares something with."""
    if isinstance(node, list):
        for part in node:
            yield from _names(part)
    if not isinstance(node, dict):
        return
    for key, inner in node.items():
        if key in ("entity", "__entity") and inner["type"] == "Principal":
            yield "principal", inner["id"]
        elif key in ("hasTag", "getTag") and inner["left"] == {"Var": "principal"}:
            yield from (("principal tag", name) for name in _literals(inner["right"]))
        elif isinstance(inner, dict) and {"left", "right"} <= inner.keys():
            for one, other in (("left", "right"), ("right", "left")):
                kind = _kind(inner[one])
                if kind is not None:
                    yield from ((kind, name) for name in _literals(inner[other]))
        yield from _names(inner)


def _kind(node: Any) -> str | None:
    """What the expression is about, where its values are names that we know."""
    if "." in node:
        access = node["."]
        return _ATTRIBUTES.get((access["left"].get("Var"), access["attr"]))
    if "getTag" in node and node["getTag"]["left"] == {"Var": "principal"}:
        for tag in _literals(node["getTag"]["right"]):
            return f"value of the principal tag {tag}"
    return None


def _literals(node: Any) -> list[str]:
    if "Set" in node:
        return [name for part in node["Set"] for name in _literals(part)]
    value = node.get("Value")
    return [value] if isinstance(value, str) else []
