"""A Terraform plan in JSON (``terraform show -json``), as the rules read it.

A plan of something new does not know every value: what AWS will name is unknown until it is
applied. Policies are read all the same: one that is known is parsed, and one that is not is
put together from the ``aws_iam_policy_document`` that its attribute refers to, whose
statements a plan knows but for such names.

The format: https://developer.hashicorp.com/terraform/internals/json-format (1.2).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from infra.checks.findings import CannotCheck
from infra.checks.policies import Statement, of_document, of_json

POLICY_ATTRIBUTES: Final = ("policy", "assume_role_policy", "policy_document", "resource_policy")
DOCUMENT: Final = "aws_iam_policy_document"
_INDEX: Final = re.compile(r"\[(?:\"([^\"]*)\"|(\d+))\]")


@dataclass(frozen=True, slots=True)
class Resource:
    """One planned resource or data source; ``values`` is what the plan knows of it.

    ``expressions`` are those of its configuration, ``driven_by`` what its ``for_each`` or
    ``count`` refers to.
    """

    address: str
    type: str
    name: str
    module: str
    index: str | None
    values: Mapping[str, Any]
    unknown: Mapping[str, Any]
    expressions: Mapping[str, Any] = field(default_factory=dict)
    driven_by: Sequence[str] = ()

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute; ``default`` where it is not set or not known."""
        value = self.values.get(name)
        return default if value is None else value

    def block(self, name: str) -> Mapping[str, Any]:
        """The first block of this name; empty where there is none."""
        blocks = self.get(name, [])
        return blocks[0] if blocks else {}

    def references(self, attribute: str) -> list[str]:
        """What an attribute's expression refers to, what drives ``each`` included."""
        expression = self.expressions.get(attribute, {})
        found = list(expression.get("references", [])) if isinstance(expression, dict) else []
        if any(reference.startswith("each.value") for reference in found):
            found += self.driven_by
        return found


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy on or of a resource; ``statements`` is ``None`` where the plan cannot know it."""

    resource: Resource
    attribute: str
    statements: Sequence[Statement] | None


class Plan:
    """The resources of a plan after it has been applied; what it takes away is left out."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        if "resource_changes" not in plan or "configuration" not in plan:
            raise CannotCheck("that is no plan; make one with `terraform show -json PLAN`")
        self._configured = _configured(plan["configuration"]["root_module"])
        known = [*_known(plan.get("prior_state", {}).get("values", {}).get("root_module", {}))]
        changes = [
            change for change in plan["resource_changes"] if change["change"]["after"] is not None
        ]
        self._all = [self._resource(change) for change in changes]
        changed = {each.address for each in self._all}
        self._all += [
            self._resource(each)
            for each in known
            if each["mode"] == "data" and each["address"] not in changed
        ]
        self.resources: Final = [
            each for each in self._all if not _leaf(each.address).startswith("data.")
        ]

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """The plan in a file; :class:`CannotCheck` where it is none."""
        try:
            return cls(json.loads(path.read_bytes()))
        except (OSError, ValueError) as error:
            raise CannotCheck(f"{path} cannot be read as a plan: {error}") from None

    def of(self, *types: str) -> list[Resource]:
        """The resources of these types."""
        return [each for each in self.resources if each.type in types]

    def related(self, resource: Resource, attribute: str) -> list[Resource]:
        """The resources of the same module that an attribute refers to.

        Through ``each.value`` too; where both have a key, only the one with the same key.
        """
        found: dict[str, Resource] = {}
        for reference in resource.references(attribute):
            for each in self._named(resource, reference):
                found[each.address] = each
        return list(found.values())

    def _named(self, resource: Resource, reference: str) -> Iterator[Resource]:
        words = reference.removeprefix("data.").split("[")[0].split(".")
        if len(words) < 2 or words[0] in ("var", "local", "each", "count", "module"):
            return
        match = _INDEX.search(reference)
        index = (match[1] or match[2]) if match else resource.index
        candidates = [
            each
            for each in self._all
            if each.module == resource.module and [each.type, each.name] == words[:2]
        ]
        if reference.startswith("data.") != any("data." in _leaf(c.address) for c in candidates):
            return
        same = [each for each in candidates if each.index == index]
        yield from same or candidates

    @cached_property
    def policies(self) -> list[Policy]:
        """Every policy of the plan: of identities, of resources, of trust."""
        return [
            Policy(resource, attribute, self._statements(resource, attribute))
            for resource in self.resources
            for attribute in POLICY_ATTRIBUTES
            if resource.get(attribute)
            # What is not configured and not known is AWS's own.
            or (resource.unknown.get(attribute) is True and attribute in resource.expressions)
        ]

    def _statements(self, resource: Resource, attribute: str) -> Sequence[Statement] | None:
        text = resource.get(attribute)
        if isinstance(text, str):
            return of_json(text)
        documents = [each for each in self.related(resource, attribute) if each.type == DOCUMENT]
        return self._documents(documents) if documents else None

    def _documents(self, documents: Sequence[Resource]) -> Sequence[Statement] | None:
        statements: list[Statement] = []
        for document in documents:
            if isinstance(document.get("json"), str):
                statements += of_json(document.get("json"))
                continue
            if document.unknown.get("statement") is True:
                return None
            for source in ("source_policy_documents", "override_policy_documents"):
                for text, other in self._sources(document, source):
                    if text is not None:
                        statements += of_json(text)
                    elif other:
                        more = self._documents(other)
                        if more is None:
                            return None
                        statements += more
                    else:
                        return None
            statements += [of_document(each) for each in document.get("statement", [])]
        return statements

    def _sources(
        self, document: Resource, attribute: str
    ) -> Iterator[tuple[str | None, list[Resource]]]:
        texts = document.get(attribute, [])
        if document.unknown.get(attribute) is True or None in texts:
            yield None, [each for each in self.related(document, attribute) if each != document]
            texts = [text for text in texts if text is not None]
        yield from ((text, []) for text in texts)

    def _resource(self, change: Mapping[str, Any]) -> Resource:
        module = change.get("module_address") or change["address"].removesuffix(
            _leaf(change["address"])
        ).removesuffix(".")
        prefix = "data." if change["mode"] == "data" else ""
        named = f"{prefix}{change['type']}.{change['name']}"
        configured = self._configured.get((_INDEX.sub("", module), named), {})
        driver = configured.get("for_each_expression") or configured.get("count_expression") or {}
        index = change.get("index")
        planned = change.get("change", {})
        unknown = planned.get("after_unknown", {})
        return Resource(
            address=change["address"],
            type=change["type"],
            name=change["name"],
            module=module,
            index=None if index is None else str(index),
            values=planned.get("after", change.get("values")) or {},
            unknown=unknown if isinstance(unknown, dict) else {},
            expressions=configured.get("expressions", {}),
            driven_by=driver.get("references", []),
        )


def _leaf(address: str) -> str:
    """What is left of an address without its modules."""
    return re.sub(r"^(module\.[^.\[]+(\[[^\]]*\])?\.)*", "", address)


def _known(module: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from _known(child)


def _configured(
    module: Mapping[str, Any], address: str = ""
) -> dict[tuple[str, str], Mapping[str, Any]]:
    found = {(address, each["address"]): each for each in module.get("resources", [])}
    for name, call in module.get("module_calls", {}).items():
        inner = f"{address}.module.{name}" if address else f"module.{name}"
        found |= _configured(call["module"], inner)
    return found
