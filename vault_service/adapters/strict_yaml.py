"""Reads YAML policy files strictly: what is misspelt is refused, never ignored.

A policy file decides who sees card data, so a duplicate key (YAML keeps the last one
silently), an unknown key or a value of the wrong type stops the load with a
:class:`~vault_service.domain.errors.ConfigurationError` that names the file, the key
and what to write instead. Only plain data is built (PyYAML's safe loader).
"""

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

import yaml

from vault_service.domain.errors import ConfigurationError


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, with duplicate and non-text keys refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag != "tag:yaml.org,2002:str":
                raise yaml.MarkedYAMLError(
                    problem="a key is not text; write it in quotes",
                    problem_mark=key_node.start_mark,
                )
            if key_node.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key_node.value!r} is given twice; keep one",
                    problem_mark=key_node.start_mark,
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def refuse(file: str, where: str, problem: str, mend: str) -> NoReturn:
    """Raise the ``ConfigurationError`` of one broken rule: file, place, problem, mend."""
    place = f"{file}: {where}" if where else file
    raise ConfigurationError(f"{place}: {problem}; {mend}")


def read_text(content: bytes, file: str) -> str:
    """The file's bytes as text; anything but UTF-8 is refused."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        refuse(file, "", "not UTF-8 text", "save the file as UTF-8")


def read_yaml(content: bytes, file: str) -> "Section":
    """The top mapping of a YAML file. ``file`` is how messages call it."""
    try:
        document = _StrictLoader(read_text(content, file)).get_single_data()
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}" if error.problem_mark else ""
        refuse(file, line, error.problem or "not valid YAML", "mend the YAML")
    except (yaml.YAMLError, ValueError):
        refuse(file, "", "not valid YAML", "mend the YAML")
    if not isinstance(document, dict):
        refuse(file, "", "not a mapping of keys to values", "start from docs/policies.md")
    return Section(file, "", document)


class Section:
    """One mapping of a policy file, handing out its keys once each, typed.

    Call :meth:`finish` when all known keys were asked for: it refuses the rest.
    """

    def __init__(self, file: str, where: str, content: Mapping[str, Any]) -> None:
        self._file = file
        self._where = where
        self._content = content
        self._known: list[str] = []

    def path(self, key: str) -> str:
        """How messages name ``key``: ``principals[3].tags``."""
        return f"{self._where}.{key}" if self._where else key

    def refuse(self, key: str, problem: str, mend: str) -> NoReturn:
        """Raise a ``ConfigurationError`` about ``key`` (empty: the section itself)."""
        refuse(self._file, self.path(key) if key else self._where, problem, mend)

    def has(self, key: str) -> bool:
        """Whether the file gives ``key``; also makes it a known key."""
        self._known.append(key)
        return key in self._content

    def names(self) -> tuple[str, ...]:
        """The keys that the file gives, for a mapping whose keys are names."""
        return tuple(self._content)

    def _take(self, key: str) -> Any:
        if not self.has(key):
            self.refuse(key, "missing", "add it")
        return self._content[key]

    def _is_text(self, key: str, value: object, pattern: re.Pattern[str] | None = None) -> str:
        if not isinstance(value, str) or not value.strip():
            self.refuse(key, "not text", "write text, in quotes where YAML would read a number")
        if pattern is not None and not pattern.fullmatch(value):
            self.refuse(key, f"{value!r} has the wrong shape", f"it must match {pattern.pattern}")
        return value

    def text(self, key: str, pattern: re.Pattern[str] | None = None) -> str:
        """Non-empty text, all of which matches ``pattern``."""
        return self._is_text(key, self._take(key), pattern)

    def choice(self, key: str, choices: Iterable[str]) -> str:
        """One of ``choices``."""
        value = self.text(key)
        if value not in choices:
            known = ", ".join(sorted(choices))
            self.refuse(key, f"unknown value {value!r}", f"use one of {known}")
        return value

    def flag(self, key: str) -> bool:
        """``true`` or ``false``."""
        value = self._take(key)
        if not isinstance(value, bool):
            self.refuse(key, "not true or false", "write true or false")
        return value

    def integer(self, key: str, minimum: int, maximum: int) -> int:
        """A whole number from ``minimum`` to ``maximum``."""
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse(key, "not a whole number", "write a whole number")
        if not minimum <= value <= maximum:
            self.refuse(key, "out of range", f"use {minimum} to {maximum}")
        return value

    def texts(self, key: str, choices: Iterable[str] | None = None) -> tuple[str, ...]:
        """A list of different texts, each one of ``choices`` where those are given."""
        value = self._take(key)
        if not isinstance(value, list):
            self.refuse(key, "not a list", "write a list: [one, two]")
        texts = tuple(self._is_text(key, entry) for entry in value)
        if len(set(texts)) != len(texts):
            self.refuse(key, "an entry is given twice", "keep one")
        for text in texts:
            if choices is not None and text not in choices:
                known = ", ".join(sorted(choices))
                self.refuse(key, f"unknown value {text!r}", f"use any of {known}")
        return texts

    def texts_by_name(self, key: str) -> dict[str, str]:
        """A mapping of text to text."""
        value = self._take(key)
        if not isinstance(value, dict):
            self.refuse(key, "not a mapping", "write name: text")
        return {name: self._is_text(f"{key}.{name}", text) for name, text in value.items()}

    def section(self, key: str) -> "Section":
        """The mapping below ``key``."""
        value = self._take(key)
        if not isinstance(value, dict):
            self.refuse(key, "not a mapping", "write key: value below it")
        return Section(self._file, self.path(key), value)

    def named_sections(self, key: str) -> Iterator[tuple[str, "Section"]]:
        """The mappings below ``key``, by name."""
        inner = self.section(key)
        for name in inner.names():
            yield name, inner.section(name)

    def listed_sections(self, key: str) -> Iterator["Section"]:
        """The mappings of a list below ``key``."""
        value = self._take(key)
        if not isinstance(value, list):
            self.refuse(key, "not a list", "write a list, each entry after a dash")
        for index, entry in enumerate(value):
            if not isinstance(entry, dict):
                self.refuse(f"{key}[{index}]", "not a mapping", "write key: value below it")
            yield Section(self._file, self.path(f"{key}[{index}]"), entry)

    def finish(self) -> None:
        """Refuse every key that nobody asked for."""
        for key in self._content:
            if key not in self._known:
                self.refuse(key, "unknown key", f"known keys are {', '.join(self._known)}")
