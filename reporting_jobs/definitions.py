"""Finds the reports: one module of ``reporting_jobs.reports`` each.

A module has ``DEFINITION``, a :class:`~vault_service.domain.reports.ReportDefinition` whose
name is the module's, and ``make``, a :data:`~reporting_jobs.context.Make`. Loading
definitions imports no library that only making needs: a module imports those inside
``make``.
"""

import hashlib
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType, ModuleType

from reporting_jobs import reports
from reporting_jobs.context import Make
from vault_service.domain.reports import ReportDefinition


@cache
def definitions() -> Mapping[str, ReportDefinition]:
    """Every report by name, with the digest of its source."""
    found: dict[str, ReportDefinition] = {}
    for info in pkgutil.iter_modules(reports.__path__):
        module = _module(info.name)
        definition: ReportDefinition = module.DEFINITION
        if definition.name != info.name:
            raise RuntimeError(f"the report of module {info.name} is called otherwise")
        source = inspect.getsource(module).encode()
        found[info.name] = replace(definition, source_digest=hashlib.sha256(source).hexdigest())
    return MappingProxyType(found)


def maker(name: str) -> Make:
    """What makes the report; :class:`KeyError` for one that is not there."""
    if name not in definitions():
        raise KeyError(name)
    make: Make = _module(name).make
    return make


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{reports.__name__}.{name}")
