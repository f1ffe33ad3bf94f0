"""Rules over the Terraform's text that tflint would have: declared, described, used, pinned.

Every variable has a type, a description and, unless it is a plain switch or number that its
type bounds, is used; every output is described; every local and data source is used; every
root and module says which Terraform and which providers it takes; sources are local.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import hcl2

from infra.checks.findings import Finding, Outcome

_NAME: Final = re.compile(r"^[a-z][a-z0-9_]*$")
_PINNED: Final = re.compile(r"^(~>|=|>=.*<)")


def check(source: Path) -> Outcome:
    """Every module and root below ``source``."""
    folders = sorted({path.parent for path in source.rglob("*.tf")})
    findings = [
        finding
        for folder in folders
        for finding in _folder(folder, str(folder.relative_to(source)))
    ]
    return Outcome(f"{len(folders)} modules and roots", findings)


def _folder(folder: Path, where: str) -> Iterator[Finding]:
    files = sorted(folder.glob("*.tf"))
    blocks = [hcl2.loads(path.read_text()) for path in files]
    text = json.dumps(blocks)
    yield from _variables(blocks, text, where)
    yield from _outputs(blocks, where)
    yield from _names(blocks, text, where)
    yield from _versions(blocks, where)
    if (folder / "terraform.tfvars").exists():
        yield Finding("no-values", where, "has terraform.tfvars; only an example belongs here")
    for name, module in _labelled(blocks, "module"):
        origin = _plain(module.get("source", ""))
        if not origin.startswith("."):
            yield Finding("sources-are-local", f"{where}: module.{name}", f"comes from {origin}")


def _variables(blocks: list[Any], text: str, where: str) -> Iterator[Finding]:
    for name, variable in _labelled(blocks, "variable"):
        place = f"{where}: var.{name}"
        if not variable.get("type"):
            yield Finding("variables-are-typed", place, "has no type; give it one")
        if not _plain(variable.get("description", "")):
            yield Finding("variables-are-described", place, "has no description; say what it is")
        kind = str(variable.get("type", ""))
        if not variable.get("validation") and kind not in ("${bool}", "bool"):
            yield Finding("variables-are-validated", place, "takes anything; add a validation")
        # Once where it is declared would be in validation: that uses nothing.
        own = json.dumps(variable).count(f"var.{name}")
        if len(re.findall(rf"\bvar\.{name}\b", text)) <= own:
            yield Finding("what-is-declared-is-used", place, "is used nowhere; remove it")


def _outputs(blocks: list[Any], where: str) -> Iterator[Finding]:
    for name, output in _labelled(blocks, "output"):
        if not _plain(output.get("description", "")):
            place = f"{where}: output.{name}"
            yield Finding("outputs-are-described", place, "has no description; say what it is")


def _names(blocks: list[Any], text: str, where: str) -> Iterator[Finding]:
    for block in blocks:
        for values in block.get("locals", []):
            for name in values:
                if not name.startswith("__") and not re.search(rf"\blocal\.{name}\b", text):
                    place = f"{where}: local.{name}"
                    yield Finding("what-is-declared-is-used", place, "is used nowhere; remove it")
        for kind in ("resource", "data"):
            for entry in block.get(kind, []):
                for type_, named in _entries(entry):
                    for name, _ in _entries(named):
                        address = f"{type_}.{name}"
                        if not _NAME.match(name):
                            what = "is not snake_case; rename it"
                            yield Finding("names-are-plain", f"{where}: {address}", what)
                        used = re.search(rf"\bdata\.{address}\b", text)
                        if kind == "data" and not used:
                            what = "is used nowhere; remove it"
                            place = f"{where}: data.{address}"
                            yield Finding("what-is-declared-is-used", place, what)


def _versions(blocks: list[Any], where: str) -> Iterator[Finding]:
    settings = [each for block in blocks for each in block.get("terraform", [])]
    if not any(_plain(each.get("required_version", "")) for each in settings):
        yield Finding("versions-are-pinned", where, "says not which Terraform; required_version")
    for each in settings:
        for providers in each.get("required_providers", []):
            for name, provider in _entries(providers):
                version = _plain(provider.get("version", "")) if isinstance(provider, dict) else ""
                if not _PINNED.match(version):
                    place = f"{where}: {name}"
                    what = f"takes {version or 'any version'}; pin it, as in ~> 5.100"
                    yield Finding("versions-are-pinned", place, what)


def _labelled(blocks: list[Any], kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for block in blocks:
        for entry in block.get(kind, []):
            yield from _entries(entry)


def _entries(entry: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Labels and what they stand for; python-hcl2 keeps quotes, and adds marks of its own."""
    for name, value in entry.items():
        if not name.startswith("__"):
            yield _plain(name), value


def _plain(text: Any) -> str:
    return str(text).strip('"')
