"""Text as the standard fonts of PDF can show it."""

from typing import Final

_ENCODING: Final = "cp1252"  # of the standard fonts


def shown(text: str) -> str:
    """The text in characters that the standard fonts have, others as their code points."""
    try:
        text.encode(_ENCODING)
    except UnicodeEncodeError:
        return "".join(_shown_character(character) for character in text)
    return text


def _shown_character(character: str) -> str:
    try:
        character.encode(_ENCODING)
    except UnicodeEncodeError:
        return f"[U+{ord(character):04X}]"
    return character
