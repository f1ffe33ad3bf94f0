"""What documents say, as tests read it: their links, tables, commands, and marks in the code."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
CODE: Final = ("vault_service", "reporting_jobs", "policies", "infra", "tests", "Dockerfile")
_CODE_SUFFIXES: Final = frozenset({".py", ".tf", ".cedar", ".yml", ".sql", ".js", ""})
_TEXT_FOLDERS: Final = ("docs", "infra", "policies", "tests")
_NOT_OURS: Final = frozenset({"node_modules", ".terraform", "__pycache__"})
_LINK: Final = re.compile(r"(?<!!)\[[^\]\[]*\]\(([^)\s]+)\)")
_FENCE: Final = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_FENCED: Final = re.compile(r"^ *```(?:sh|bash|)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE: Final = re.compile(r"`([^`\n]+)`")
_HEADING: Final = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_NUMBER: Final = r"\d+(?:\.\d+)+"
_MARK: Final = re.compile(rf"PCI[- ]DSS ({_NUMBER}(?:(?:,| and) {_NUMBER})*)")
_NEXT_LINE: Final = re.compile(r"\s*\n\s*(?:#|//|--)?\s*")


def texts() -> list[Path]:
    """Every Markdown file of the repository."""
    found = [*ROOT.glob("*.md")]
    for folder in _TEXT_FOLDERS:
        found += (ROOT / folder).rglob("*.md")
    return sorted(path for path in found if not _NOT_OURS & set(path.parts))


def links(path: Path) -> Iterator[str]:
    """Where a document's links lead, those of its code blocks left out."""
    yield from _LINK.findall(_FENCE.sub("", path.read_text(encoding="utf-8")))


def anchors(path: Path) -> set[str]:
    """The names of a document's headings, as they stand behind ``#``."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for heading in _HEADING.findall(text):
        plain = re.sub(r"[^\w\s-]", "", re.sub(r"\]\([^)]*\)", "", heading)).strip().lower()
        names.add(plain.replace(" ", "-"))
    return names


def rows(path: Path, columns: int) -> Iterator[list[str]]:
    """The rows of all tables with so many columns, heads left out."""
    for block in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        for line in lines[2:]:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if len(cells) == columns:
                yield cells


def quoted(cell: str) -> list[str]:
    """What a cell has between backquotes."""
    return _INLINE.findall(cell)


def commands(path: Path) -> Iterator[list[str]]:
    """The words after ``strongroom`` of each command in the code of a document."""
    text = path.read_text(encoding="utf-8")
    lines = [
        line
        for block in _FENCED.findall(text)
        for line in block.replace("\\\n", " ").splitlines()
        if not line.lstrip().startswith("#")
    ]
    lines += _INLINE.findall(_FENCE.sub("", text))
    for line in lines:
        for part in re.split(r"\|\||&&|[|;()]|\$\(", line.split(" #")[0]):
            words = part.replace('"', " ").split()
            while words and re.fullmatch(r"\w+=\S*", words[0]):
                words = words[1:]
            if words[:1] == ["in_account"]:
                words = words[2:]
            if words[:1] == ["strongroom"] and len(words) > 1:
                yield words[1:]


def pci_marks() -> dict[str, set[str]]:
    """Requirements of PCI DSS that the code cites, with the files that do."""
    found: dict[str, set[str]] = {}
    for top in CODE:
        for path in (ROOT / top, *(ROOT / top).rglob("*")):
            if not path.is_file() or path.suffix not in _CODE_SUFFIXES:
                continue
            if _NOT_OURS & set(path.parts):
                continue
            text = _NEXT_LINE.sub(" ", path.read_text(encoding="utf-8"))
            for mark in _MARK.findall(text):
                for number in re.findall(_NUMBER, mark):
                    found.setdefault(number, set()).add(str(path.relative_to(ROOT)))
    return found
