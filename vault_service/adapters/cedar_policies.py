"""Cedar text as data: the policies by ``@id``, where they stand, what they read."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cedarpy

from vault_service.adapters.policy_files import SCHEMA
from vault_service.adapters.strict_yaml import refuse
from vault_service.domain.access import PolicySource

_ID_LINE: Final = re.compile(r'^[ \t]*@id\("([^"\\]*)"\)', re.MULTILINE)
_ID: Final = re.compile(r"[a-z][a-z0-9-]{0,79}")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with the policy files; ``line`` is 0 where none is known."""

    file: str
    line: int
    rule: str
    detail: str


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy as written: where it stands and its Cedar JSON form (EST)."""

    source: PolicySource
    body: Mapping[str, Any]


def parse_policies(texts: Mapping[str, str]) -> dict[str, Policy]:
    """All policies of the ``*.cedar`` texts (by file name), by ``@id``.

    Raises ``ConfigurationError`` for text that does not parse, for a policy without
    ``@id``, an id given twice, and templates.
    """
    policies: dict[str, Policy] = {}
    for file, text in texts.items():
        try:
            parsed = json.loads(cedarpy.policies_to_json_str(text))
        except ValueError as error:
            refuse(file, "", f"does not parse: {error}", "mend the Cedar text")
        if parsed["templates"]:
            refuse(file, "", "holds a policy template", "write the policy out")
        bodies = parsed["staticPolicies"]
        lines = {
            match[1]: text.count("\n", 0, match.start(1)) + 1 for match in _ID_LINE.finditer(text)
        }
        for number in range(len(bodies)):
            body = bodies[f"policy{number}"]
            name = body.get("annotations", {}).get("id")
            if name is None:
                refuse(file, f"policy {number + 1}", "has no @id", 'put @id("its-name") before it')
            if not _ID.fullmatch(name) or name not in lines:
                refuse(
                    file,
                    f"policy {number + 1}",
                    f"has an unusable @id {name!r}",
                    f"it must match {_ID.pattern} and begin a line",
                )
            if name in policies:
                refuse(
                    file, f"line {lines[name]}", f"the @id {name!r} is given twice", "rename one"
                )
            policies[name] = Policy(PolicySource(name, file, lines[name]), body)
    return policies


def context_reads(body: object) -> frozenset[str] | None:
    """The context attributes that a policy in Cedar JSON form may read; ``None`` where
    it uses the context as a whole and so may read any."""
    if isinstance(body, list):
        parts = [context_reads(part) for part in body]
    elif isinstance(body, dict):
        if body.get("Var") == "context":
            return None
        for access in ("has", "."):
            inner = body.get(access)
            if isinstance(inner, dict) and inner.get("left") == {"Var": "context"}:
                return frozenset({inner["attr"]})
        parts = [context_reads(part) for part in body.values()]
    else:
        return frozenset()
    if None in parts:
        return None
    return frozenset().union(*(part for part in parts if part is not None))


def parse_schema(text: str) -> cedarpy.Schema:
    """The schema; ``ConfigurationError`` where it does not parse."""
    try:
        return cedarpy.Schema.from_str(text)
    except ValueError as error:
        refuse(SCHEMA, "", f"does not parse: {error}", "mend the schema")


def schema_findings(
    policies: Mapping[str, Policy], texts: Mapping[str, str], schema: cedarpy.Schema
) -> list[Finding]:
    """Where policies do not fit the schema (Cedar's strict validation)."""
    result = cedarpy.validate_policies("\n".join(texts.values()), schema)
    findings = []
    for error in result.errors:
        name: str = result.id_annotations_by_policy_id.get(error.policy_id, "")
        source = policies[name].source if name in policies else PolicySource("", SCHEMA, 0)
        findings.append(Finding(source.file, source.line, "schema", error.error))
    if not findings and not result.validation_passed:
        findings.append(Finding(SCHEMA, 0, "schema", "the policies do not fit the schema"))
    return findings
