"""Mapping files: which columns of a file hold what.

    columns:
      cardnumber: {data_class: pan_unverified}
      email: {data_class: email, tags: {region: eu}, expires_in: 86400, form: masked}
    subject: customerid

``tags`` and ``expires_in`` (seconds) are for tokenizing, ``form`` for detokenizing,
``subject`` names the column that tells whose values they are. Anything else is an error.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import yaml

from vault_service.client.errors import StrongroomError
from vault_service.domain.detection import find


class MappingError(StrongroomError):
    """The mapping is unusable, or does not fit the file; says how to mend it."""


class ColumnRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one column holds."""

    data_class: str | None = None
    form: str | None = None
    tags: dict[str, str] = {}
    expires_in: int | None = None


class _MappingFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    columns: dict[str, ColumnRule]
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """The columns to replace, in order, and the one that names the subject."""

    columns: dict[str, ColumnRule] = field(default_factory=dict)
    subject: str | None = None

    def with_form(self, form: str) -> "ColumnMap":
        """The same with ``form`` for the columns that name none."""
        columns = {
            name: rule if rule.form else msgspec.structs.replace(rule, form=form)
            for name, rule in self.columns.items()
        }
        return replace(self, columns=columns)

    def check_classes(self) -> None:
        """:class:`MappingError` where a column has no data class."""
        for name, rule in self.columns.items():
            if rule.data_class is None:
                raise MappingError(f"Column {name} of the mapping needs a data_class.")

    def check_columns(self, present: Sequence[str]) -> None:
        """:class:`MappingError`, naming what there is, where a file has no such column."""
        wanted = [*self.columns, *([self.subject] if self.subject else [])]
        missing = [name for name in wanted if name not in present]
        if missing:
            raise MappingError(
                f"The file has no column {', '.join(missing)}; it has: {shown(present)}."
            )


def shown(names: Sequence[str]) -> str:
    """Column names for a message. A name in which a scan finds something is left out:
    the first line of a file without a header is data."""
    return ", ".join(
        f"(column {number} has a value for a name: does the file lack a header line?)"
        if next(find(name), None)
        else name
        for number, name in enumerate(names, 1)
    )


class _Loader(yaml.SafeLoader):
    """Plain data only, and no key twice (YAML itself keeps the last one silently)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        if len(keys) != len(set(keys)):
            raise yaml.MarkedYAMLError(problem="a key is given twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def load_mapping(path: Path) -> ColumnMap:
    """Read a mapping file; :class:`MappingError` naming the place that is wrong."""
    problem: str
    try:
        # A subclass of SafeLoader: builds nothing but plain data.
        document = yaml.load(path.read_text("utf-8"), Loader=_Loader)  # nosec B506
        parsed = msgspec.convert(document, _MappingFile)
        if parsed.columns:
            return ColumnMap(parsed.columns, parsed.subject)
        problem = "it names no columns"
    except OSError as error:
        problem = error.strerror or "it cannot be read"
    except UnicodeDecodeError:
        problem = "it is not UTF-8 text"
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        problem = f"{line}{error.problem or 'it is not valid YAML'}"
    except yaml.YAMLError:
        problem = "it is not valid YAML"
    except msgspec.ValidationError as error:
        problem = str(error)
    raise MappingError(
        f"The mapping file {path}: {problem}. It looks like this:\n"
        "columns:\n  cardnumber: {data_class: pan}\nsubject: customerid   # optional"
    )


def mapping_of(pairs: Iterable[str]) -> ColumnMap:
    """A mapping from ``COLUMN=CLASS`` texts (or ``COLUMN`` alone, without a class)."""
    columns: dict[str, ColumnRule] = {}
    for pair in pairs:
        name, _, data_class = pair.rpartition("=") if "=" in pair else (pair, "", "")
        if not name or name in columns:
            raise MappingError("Write --column COLUMN=CLASS, each column once.")
        columns[name] = ColumnRule(data_class or None)
    return ColumnMap(columns)
