"""What can be known of a run before it: does the mapping fit, and is it allowed?"""

from pathlib import Path

from vault_service.client.errors import StrongroomError
from vault_service.client.mapping import ColumnMap, MappingError
from vault_service.client.results import CatalogInfo
from vault_service.client.sync import Client
from vault_service.client.tables import open_table


def is_deterministic(catalog: CatalogInfo, column: str, data_class: str) -> bool:
    """Whether equal values of the class have equal tokens; :class:`MappingError`, naming
    the classes there are, for an unknown one."""
    try:
        return catalog.data_classes[data_class].deterministic
    except KeyError:
        known = ", ".join(sorted(catalog.data_classes))
        raise MappingError(
            f"Column {column}: the vault has no data class {data_class}; it has {known}."
        ) from None


def check_file(
    vault: Client, source: Path, mapping: ColumnMap, *, purpose: str | None = None
) -> list[str]:
    """What stands against the run, without sending a value; empty where nothing does.

    ``purpose`` is given for detokenizing. Asks for the catalog and for the policies'
    decision on each column. Raises :class:`MappingError` as the run would.
    """
    with open_table(source) as table:
        mapping.check_columns(table.names)
    catalog = vault.catalog()
    problems = []
    if purpose is not None and purpose not in catalog.purposes:
        problems.append(
            f"The catalog has no purpose {purpose}; it has {', '.join(sorted(catalog.purposes))}."
        )
    for name, rule in mapping.columns.items():
        if rule.data_class is None:
            continue
        is_deterministic(catalog, name, rule.data_class)
        form = (rule.form or "masked") if purpose is not None else None
        if form is not None and form not in catalog.data_classes[rule.data_class].forms:
            problems.append(f"Column {name}: {rule.data_class} has no form {form}.")
            continue
        action = "tokenize" if purpose is None else "detokenize"
        problems += _decision(vault, action, name, rule.data_class, purpose, form)
    return problems


def _decision(
    vault: Client, action: str, column: str, data_class: str, purpose: str | None, form: str | None
) -> list[str]:
    try:
        decision = vault.explain(action, data_class, purpose=purpose, form=form)
    except StrongroomError as error:
        return [f"Column {column}: {error}"]
    if decision.allowed:
        return []
    decided = ", ".join(decision.policies) or "no policy allows it"
    return [f"Column {column}: no right to {action} {data_class} ({decided})."]
