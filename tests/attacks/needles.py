"""Finds a text in any writing of it: raw, hexadecimal, base64, URL-encoded, spaced.

A sweep looks for the beginning that all canaries of a test share, so one pass over the
bytes finds any of them.
"""

import base64
import mmap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path


def _base64(text: bytes, offset: int) -> bytes:
    """The characters that ``text`` alone decides, where ``offset`` bytes stand before it
    in its group of three."""
    encoded = base64.b64encode(bytes(offset) + text + bytes(3))
    return encoded[-(-offset * 8 // 6) : (offset + len(text)) * 8 // 6]


def _grouped(text: str, separator: str, size: int) -> bytes:
    return separator.join(text[at : at + size] for at in range(0, len(text), size)).encode()


def writings(text: str) -> dict[str, bytes]:
    """Every way in which ``text`` may stand somewhere, by name."""
    raw = text.encode()
    found = {
        "raw": raw,
        "upper case": text.upper().encode(),
        "title case": text.title().encode(),
        "hex": raw.hex().encode(),
        "hex in upper case": raw.hex().upper().encode(),
        "hex, spaced": raw.hex(" ").encode(),
        "url-encoded": "".join(f"%{byte:02x}" for byte in raw).encode(),
        "url-encoded in upper case": "".join(f"%{byte:02X}" for byte in raw).encode(),
        "json-escaped": "".join(f"\\u{ord(character):04x}" for character in text).encode(),
        "python-escaped": "".join(f"\\x{byte:02x}" for byte in raw).encode(),
        "utf-16": text.encode("utf-16-le"),
        "utf-16, big endian": text.encode("utf-16-be"),
        "reversed": raw[::-1],
        "base32": base64.b32encode(raw)[: len(raw) * 8 // 5],
    }
    for offset in range(3):
        standard = _base64(raw, offset)
        found[f"base64 at {offset}"] = standard
        found[f"base64url at {offset}"] = standard.replace(b"+", b"-").replace(b"/", b"_")
    if text.isdigit():
        for name, separator in (("spaces", " "), ("dashes", "-"), ("dots", "."), ("commas", ",")):
            found[f"groups of four with {name}"] = _grouped(text, separator, 4)
            found[f"digits with {name}"] = _grouped(text, separator, 1)
        found["full width"] = "".join(chr(0xFF10 + int(digit)) for digit in text).encode()
    return found


class Sweep:
    """Looks for the writings of some texts."""

    def __init__(self, *texts: str) -> None:
        patterns = {
            pattern: f"{text}: {name}" for text in texts for name, pattern in writings(text).items()
        }
        self._patterns = patterns

    def of(self, content: bytes | mmap.mmap) -> list[str]:
        """The writings that stand in ``content``, with a little of what is around."""
        found = []
        for pattern, name in self._patterns.items():
            at = content.find(pattern)
            if at >= 0:
                around = content[max(0, at - 60) : at + len(pattern) + 30]
                found.append(f"{name} at {at}: {around!r}")
        return found

    def of_file(self, path: Path) -> list[str]:
        """The same for a file's bytes and its name."""
        found = self.of(str(path).encode())
        with path.open("rb") as file:
            if path.stat().st_size:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    found += self.of(content)
        return found

    def of_folder(self, folder: Path) -> tuple[int, list[str]]:
        """How many files lie beneath ``folder``, and what was found in which."""
        paths = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return len(paths), [f"{path}: {hit}" for path in paths for hit in self.of_file(path)]

    def of_texts(self, texts: Mapping[str, bytes]) -> list[str]:
        """The same for several named byte strings."""
        return [f"{name}: {hit}" for name, text in texts.items() for hit in self.of(text)]


def leaves(rows: Iterable[Iterable[object]]) -> Iterator[bytes]:
    """Every value in the rows of a query as bytes: arrays and JSON by their parts."""
    for row in rows:
        for value in row:
            yield from _leaves(value)


def _leaves(value: object) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield str(name).encode()
            yield from _leaves(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part)
    elif value is not None:
        yield str(value).encode()
