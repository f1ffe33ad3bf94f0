"""Whom a policy may apply to, as far as that can be told without a request.

A policy names principals in its scope or, more often, by their tags in a condition. Both
are read from the policy's Cedar JSON form with the principal known and everything else
unknown (three-valued logic), so the answer errs on one side alone: a principal that the
policy could apply to is never left out.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from vault_service.domain.principals import Principal

_ENTITY: Final = "Principal"


class _Unknown:
    """What depends on the request, or on an operator that is not read here."""


_UNKNOWN: Final = _Unknown()


def may_apply(body: Mapping[str, Any], principal: Principal) -> bool:
    """Whether some request of ``principal`` may satisfy the policy ``body`` (Cedar's JSON
    form of one policy). Forbids that outweigh it are not looked at."""
    if not _in_scope(body["principal"], principal):
        return False
    reader = _Reader(principal)
    for condition in body["conditions"]:
        found = reader.value(condition["body"])
        if found is (condition["kind"] == "unless"):
            return False
    return True


def _in_scope(scope: Mapping[str, Any], principal: Principal) -> bool:
    operator = scope["op"]
    if operator == "is":
        # Principals have no parents, so "is … in …" holds for the entity itself at most.
        inner = scope.get("in")
        same = inner is None or _is_entity(inner["entity"], principal)
        return scope["entity_type"] == _ENTITY and same
    if operator in ("==", "in"):
        return _is_entity(scope["entity"], principal)
    return True


def _is_entity(entity: Mapping[str, Any], principal: Principal) -> bool:
    return bool(entity["type"] == _ENTITY and entity["id"] == principal.name)


class _Reader:
    """Evaluates Cedar expressions to a string, boolean, set of strings, entity (its type
    and id) or the unknown. A value holds for every request that the expression can be
    evaluated for; where it cannot, Cedar takes the policy as not satisfied anyway."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal
        self._self = (_ENTITY, principal.name)
        self._attributes: dict[str, object] = {
            "name": principal.name,
            "type": principal.type.value,
            "tenant": principal.tenant,
        }
        self._operators: dict[str, Callable[[Any], object]] = {
            "Value": self._literal,
            "Var": lambda name: self._self if name == "principal" else _UNKNOWN,
            "Set": self._set,
            ".": self._attribute,
            "has": self._has,
            "hasTag": self._has_tag,
            "getTag": self._get_tag,
            "contains": self._contains,
            "==": self._equal,
            "in": self._equal,  # principals have no parents
            "!=": lambda sides: _not(self._equal(sides)),
            "!": lambda inner: _not(self.value(inner["arg"])),
            "&&": lambda sides: self._connect(sides, absorbing=False),
            "||": lambda sides: self._connect(sides, absorbing=True),
            "if-then-else": self._choose,
        }

    def value(self, expression: Mapping[str, Any]) -> object:
        """What the expression is for every request, or the unknown."""
        [(operator, inner)] = expression.items()
        evaluate = self._operators.get(operator)
        return _UNKNOWN if evaluate is None else evaluate(inner)

    def _sides(self, inner: Any) -> tuple[object, object]:
        return self.value(inner["left"]), self.value(inner["right"])

    def _literal(self, value: object) -> object:
        if isinstance(value, dict) and "__entity" in value:
            return value["__entity"]["type"], value["__entity"]["id"]
        return value if isinstance(value, str | bool) else _UNKNOWN

    def _set(self, members: Any) -> object:
        found = [self.value(member) for member in members]
        return frozenset(found) if all(isinstance(each, str) for each in found) else _UNKNOWN

    def _attribute(self, inner: Any) -> object:
        if self.value(inner["left"]) != self._self:
            return _UNKNOWN
        return self._attributes.get(inner["attr"], _UNKNOWN)

    def _has(self, inner: Any) -> object:
        if self.value(inner["left"]) != self._self:
            return _UNKNOWN
        return inner["attr"] in self._attributes

    def _has_tag(self, inner: Any) -> object:
        entity, name = self._sides(inner)
        if entity != self._self or not isinstance(name, str):
            return _UNKNOWN
        return name in self._principal.tags

    def _get_tag(self, inner: Any) -> object:
        entity, name = self._sides(inner)
        if entity != self._self or not isinstance(name, str):
            return _UNKNOWN
        return self._principal.tags.get(name, _UNKNOWN)

    def _contains(self, inner: Any) -> object:
        members, wanted = self._sides(inner)
        if isinstance(members, frozenset) and isinstance(wanted, str):
            return wanted in members
        return _UNKNOWN

    def _equal(self, inner: Any) -> object:
        left, right = self._sides(inner)
        if type(left) is type(right) and isinstance(left, str | tuple):
            return left == right
        return _UNKNOWN

    def _connect(self, inner: Any, *, absorbing: bool) -> object:
        """``&&`` (absorbing false) or ``||`` (absorbing true)."""
        left, right = self._sides(inner)
        if absorbing in (left, right):
            return absorbing
        return left if left is right and isinstance(left, bool) else _UNKNOWN

    def _choose(self, inner: Any) -> object:
        condition = self.value(inner["if"])
        if isinstance(condition, bool):
            return self.value(inner["then" if condition else "else"])
        return _UNKNOWN


def _not(value: object) -> object:
    return not value if isinstance(value, bool) else _UNKNOWN
