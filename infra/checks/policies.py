"""Statements of AWS policies, from JSON and from Terraform's policy documents.

The grammar: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html.
A part that a plan does not know is :data:`UNKNOWN`.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

UNKNOWN: Final = "(known after apply)"


@dataclass(frozen=True, slots=True)
class Condition:
    """``test`` of ``variable`` against ``values``."""

    test: str
    variable: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. Principals are pairs of type (``AWS``, ``Service``, ``*``) and name."""

    sid: str
    effect: str
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    not_resources: tuple[str, ...] = ()
    principals: tuple[tuple[str, str], ...] = ()
    not_principals: tuple[tuple[str, str], ...] = ()
    conditions: tuple[Condition, ...] = ()

    @property
    def allows(self) -> bool:
        return self.effect == "Allow"

    def covers(self, action: str) -> bool:
        """Whether it speaks of this action, wildcards and exceptions considered.

        An action that is not known covers everything.
        """
        if self.not_actions:
            return not any(_matches(each, action) for each in self.not_actions)
        return any(each == UNKNOWN or _matches(each, action) for each in self.actions)

    def principals_of(self, kind: str) -> list[str]:
        """The principals of a type."""
        return [name for each, name in self.principals if each == kind]

    def condition(self, variable: str) -> list[Condition]:
        """The conditions on a variable; names of variables have no case."""
        return [each for each in self.conditions if each.variable.lower() == variable.lower()]


def of_json(text: str) -> list[Statement]:
    """The statements of a policy in JSON; ``ValueError`` where it is none."""
    return [_of_json(each) for each in _listed(json.loads(text)["Statement"])]


def of_document(statement: Mapping[str, Any]) -> Statement:
    """A ``statement`` block of ``aws_iam_policy_document``, as a plan has it."""
    return Statement(
        sid=statement.get("sid") or "",
        effect=statement.get("effect") or "Allow",
        actions=_texts(statement.get("actions")),
        not_actions=_texts(statement.get("not_actions")),
        resources=_texts(statement.get("resources")),
        not_resources=_texts(statement.get("not_resources")),
        principals=_blocks(statement.get("principals")),
        not_principals=_blocks(statement.get("not_principals")),
        conditions=tuple(
            Condition(
                each.get("test") or UNKNOWN,
                each.get("variable") or UNKNOWN,
                _texts(each.get("values")),
            )
            for each in statement.get("condition") or []
        ),
    )


def _of_json(statement: Mapping[str, Any]) -> Statement:
    return Statement(
        sid=statement.get("Sid", ""),
        effect=statement["Effect"],
        actions=_texts(statement.get("Action")),
        not_actions=_texts(statement.get("NotAction")),
        resources=_texts(statement.get("Resource")),
        not_resources=_texts(statement.get("NotResource")),
        principals=_principals(statement.get("Principal")),
        not_principals=_principals(statement.get("NotPrincipal")),
        conditions=tuple(
            Condition(test, variable, _texts(values))
            for test, variables in statement.get("Condition", {}).items()
            for variable, values in variables.items()
        ),
    )


def _principals(value: Any) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    if value == "*":
        return (("*", "*"),)
    return tuple((kind, name) for kind, names in value.items() for name in _texts(names))


def _blocks(blocks: Iterable[Mapping[str, Any]] | None) -> tuple[tuple[str, str], ...]:
    return tuple(
        (block.get("type") or UNKNOWN, name)
        for block in blocks or []
        for name in _texts(block.get("identifiers")) or (UNKNOWN,)
    )


def _texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(UNKNOWN if each is None else str(each) for each in _listed(value))


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _matches(pattern: str, action: str) -> bool:
    """IAM's wildcards: ``*`` any characters, ``?`` one, without regard to case."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, action, re.IGNORECASE) is not None
