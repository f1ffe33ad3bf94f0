"""Finds the reports: one module of ``reporting_jobs.reports`` each.

A module has ``DEFINITION``, a :class:`~vault_service.domain.reports.ReportDefinition` whose
name is the module's, and ``make``, a :data:`~reporting_jobs.context.Make`. Loading
definitions imports no library that only making needs: a module imports those inside
``make``. Its digest covers its source and that of every module of this package that it
stands on: an approval is of what makes the figures, wherever that is written.
"""

import ast
import hashlib
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Final

from reporting_jobs import reports
from reporting_jobs.context import Make
from vault_service.domain.reports import ReportDefinition

_PACKAGE: Final = "reporting_jobs."


@cache
def definitions() -> Mapping[str, ReportDefinition]:
    """Every report by name, with the digest of its source."""
    found: dict[str, ReportDefinition] = {}
    for info in pkgutil.iter_modules(reports.__path__):
        module = _module(info.name)
        definition: ReportDefinition = module.DEFINITION
        if definition.name != info.name:
            raise RuntimeError(f"the report of module {info.name} is called otherwise")
        found[info.name] = replace(definition, source_digest=_digest(module.__name__))
    return MappingProxyType(found)


def maker(name: str) -> Make:
    """What makes the report; :class:`KeyError` for one that is not there."""
    if name not in definitions():
        raise KeyError(name)
    make: Make = _module(name).make
    return make


def _digest(name: str) -> str:
    """SHA-256 (hex) over the sources, in the order of their names."""
    sources: dict[str, bytes] = {}
    waiting = [name]
    while waiting:
        name = waiting.pop()
        spec = None if name in sources else importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            sources[name] = Path(spec.origin).read_bytes()
            waiting += _imported(sources[name])
    whole = b"".join(
        hashlib.sha256(name.encode()).digest() + hashlib.sha256(source).digest()
        for name, source in sorted(sources.items())
    )
    return hashlib.sha256(whole).hexdigest()


def _imported(source: bytes) -> Iterator[str]:
    """The modules of this package that a source imports anywhere, by ``from … import``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_PACKAGE):
            yield str(node.module)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{reports.__name__}.{name}")
