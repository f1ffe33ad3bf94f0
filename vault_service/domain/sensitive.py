"""A wrapper that keeps a sensitive value out of logs, errors and tracebacks.

The value is reached only by :meth:`Sensitive.reveal`, so that every place that
handles plaintext can be found by searching for one word. Equality is constant-time;
hashing, pickling and ordering are refused because each would leak or copy the value.
"""

import hmac
from typing import Final, NoReturn

_REDACTED: Final = "Sensitive(…)"


class Sensitive:
    """Holds one string value whose ``repr`` and ``str`` say nothing about it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The plain value. Search for callers of this to find all plaintext."""
        return self._value

    def __repr__(self) -> str:
        return _REDACTED

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return _REDACTED

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sensitive):
            return NotImplemented
        return hmac.compare_digest(
            self._value.encode("utf-8", "surrogatepass"),
            other._value.encode("utf-8", "surrogatepass"),
        )

    __hash__ = None  # type: ignore[assignment]  # a hash of the value would leak it

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Sensitive value cannot be pickled")
