"""Which requests the policies can tell apart, so that equal questions are decided once.

A decision is a pure function of what the policies read. What that is, is taken from
their parsed form. A number or time of the request that stands only in comparisons
with others of them and with constants counts by how these come out; a tag or a number that no
policy on the action reads does not count at all. Whatever is used in any other way
counts as it is.
"""

import operator
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from vault_service.adapters.cedar import CedarEngine
from vault_service.domain.access import AccessRequest, Action, Decision, Tags

MEMO_SIZE: Final = 65_536
"""Decisions kept: a bounded number, whatever a log holds."""

_NUMBERS: Final = ("item_count", "budget_left", "hour", "weekday", "now")
_TOP: Final = 2**63
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CONTEXT: Final = {"Var": "context"}
_RESOURCE: Final = {"Var": "resource"}
_ACTIONS: Final = frozenset(action.value for action in Action)

# Name of a number of the request, or a constant.
_Operand = str | int | datetime


@dataclass(slots=True)
class _Reads:
    """What the policies on one action read. ``tags`` is ``None`` for all of them; ``whole``
    are the attributes that count as they are."""

    whole: set[str] = field(default_factory=set)
    comparisons: set[tuple[str, _Operand, _Operand]] = field(default_factory=set)
    tags: set[str] | None = field(default_factory=set)

    def add(self, node: object) -> None:
        """Take what a part of a policy in Cedar JSON form reads."""
        if isinstance(node, list):
            for part in node:
                self.add(part)
        if not isinstance(node, dict):
            return
        if node == _CONTEXT:
            self.whole.update(_NUMBERS)
        if node == _RESOURCE:
            self.tags = None
        for key, inner in node.items():
            if not self._known(key, inner):
                self.add(inner)

    def _known(self, key: str, inner: Any) -> bool:
        """Whether the expression is of a kind that reads no more than it says."""
        if not isinstance(inner, dict):
            return False
        left = inner.get("left")
        if key in (".", "has") and left in (_CONTEXT, _RESOURCE):
            # Of a resource, attributes are the class's; purpose and form always count,
            # and so does whether there is a budget.
            if key == "." and left == _CONTEXT:
                self.whole.add(inner["attr"])
            return True
        if key in ("hasTag", "getTag") and left == _RESOURCE:
            name = inner["right"].get("Value")
            if isinstance(name, str) and self.tags is not None:
                self.tags.add(name)
                return True
        if key in _COMPARE:
            one, other = _operand(left), _operand(inner.get("right"))
            if one is not None and other is not None:
                self.comparisons.add((key, one, other))
                return True
        return False


def _operand(node: Any) -> _Operand | None:
    if not isinstance(node, dict):
        return None
    value = node.get("Value")
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(moment := node.get("datetime"), list):
        return _moment(moment)
    access = node.get(".")
    if isinstance(access, dict) and access["left"] == _CONTEXT and access["attr"] in _NUMBERS:
        return str(access["attr"])
    return None


def _moment(arguments: list[Any]) -> datetime | None:
    """A datetime constant of Cedar, which is in UTC where it names no offset."""
    try:
        moment = datetime.fromisoformat(arguments[0]["Value"])
    except (ValueError, TypeError, KeyError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


class _Key:
    """Makes the keys of one action."""

    def __init__(self, reads: _Reads) -> None:
        self._tags = None if reads.tags is None else frozenset(reads.tags)
        self._whole = [at for at, name in enumerate(_NUMBERS) if name in reads.whole]
        constants: list[int | datetime] = []

        def place(operand: _Operand) -> int:
            if isinstance(operand, str):
                return _NUMBERS.index(operand)
            constants.append(operand)
            return len(_NUMBERS) + len(constants) - 1

        self._comparisons = [
            (_COMPARE[sign], place(one), place(other))
            for sign, one, other in sorted(reads.comparisons, key=repr)
        ]
        self._constants = tuple(constants)

    def tags(self, tags: Tags) -> Tags:
        """Those of a token's tags that count."""
        read = self._tags
        if not tags or read is None:
            return tags
        return tuple(tag for tag in tags if tag[0] in read)

    def numbers(self, request: AccessRequest) -> tuple[Hashable, ...]:
        """What counts of the request's numbers and its time, which is in UTC."""
        at, left = request.at, request.budget_left
        values = (request.item_count, left, at.hour, at.isoweekday(), at, *self._constants)
        found: list[Hashable] = [left is None]
        for compare, one, other in self._comparisons:
            a, b = values[one], values[other]
            found.append(None if a is None or b is None else compare(a, b))
        found.extend([values[place] for place in self._whole])
        return tuple(found)


class RememberedDecisions:
    """A policy engine that decides each question once. Some microseconds where it
    remembers, and as long as the engine where it does not."""

    def __init__(self, engine: CedarEngine) -> None:
        self._engine = engine
        bodies = [policy.body for policy in engine.policies.values()]
        self._keys = {action: _Key(_reads(action, bodies)) for action in Action}
        self._memo: dict[Hashable, Decision] = {}

    def question(self, request: AccessRequest) -> Hashable:
        """What the policies see of the request; equal for requests that they cannot tell
        apart, so that these have one decision."""
        key = self._keys[request.action]
        return (
            request.principal,
            request.action,
            request.data_class,
            request.class_tags,
            key.tags(request.token_tags),
            request.purpose,
            request.form,
            request.report,
            # Beyond a Long the request fits no schema.
            request.item_count < _TOP,
            (request.budget_left or 0) < _TOP,
            key.numbers(request),
        )

    def decide(self, request: AccessRequest) -> Decision:
        """The engine's decision."""
        question = self.question(request)
        decision = self._memo.get(question)
        if decision is None:
            if len(self._memo) >= MEMO_SIZE:
                self._memo.clear()
            decision = self._memo[question] = self._engine.decide(request)
        return decision


def _reads(action: Action, bodies: Iterable[Mapping[str, Any]]) -> _Reads:
    reads = _Reads()
    for body in bodies:
        if _may_be_about(body["action"], action):
            # A scope names entities, never attributes or tags.
            reads.add(body["conditions"])
    return reads


def _may_be_about(scope: Mapping[str, Any], action: Action) -> bool:
    if scope["op"] == "All":
        return True
    entities = scope["entities"] if "entities" in scope else [scope["entity"]]
    # What is no action of ours may be a group that the schema puts the action in.
    return any(e["id"] == action.value or e["id"] not in _ACTIONS for e in entities)
