"""What is kept or logged in clear must not carry what the vault is there to hide.

Subjects, tags, references, cases, purposes, idempotency keys and request ids pass
through here first (PCI-DSS 3.3.1, 3.5.1).
"""

from collections.abc import Collection, Mapping
from typing import Final

from vault_service.domain.access import Tags
from vault_service.domain.detection import looks_like_card_number
from vault_service.domain.errors import Code, FieldError, VaultError
from vault_service.domain.sad import is_sad_class_name, sensitive_in_metadata
from vault_service.domain.tokens import MAX_TOKEN_LENGTH, storable

MAX_TEXT: Final = 256
_OPAQUE: Final = b"0123456789abcdefghijklmnopqrstuvwxyz_\n"
_SHAPE: Final = bytes(
    ord("0") if chr(b).isdigit() else ord("_") if chr(b) == "_" else ord("x") for b in range(128)
) + bytes(128)
_PERHAPS_CARD: Final = (b"0" * 11, b"0_")
MAX_TAGS: Final = 16
MAX_TAG_NAME: Final = 64


def fit_to_ask(tokens: Collection[str]) -> list[str]:
    """Those strings from a token's place that a database may be asked for: not too long,
    without NUL, and no card numbers, since it may write its parameters down.

    A batch of tokens of the default format is seen through as one text: lower-case
    letters, digits that never stand eleven in a row nor before an underscore.
    """
    joined = "\n".join(tokens).encode("utf-8", "surrogatepass")
    shape = joined.translate(_SHAPE)
    if (
        not joined.translate(None, _OPAQUE)
        and not any(run in shape for run in _PERHAPS_CARD)
        and max(map(len, tokens), default=0) <= MAX_TOKEN_LENGTH
    ):
        return list(tokens)
    return [token for token in tokens if storable(token) and not looks_like_card_number(token)]


def check_text(text: str, field: str) -> None:
    """Refuse a text that may not be kept in clear.

    Raises ``invalid_request`` where it is empty, too long or not printable,
    ``sensitive_authentication_data`` where it carries CVV, PIN or track data,
    ``sensitive_value_in_metadata`` where it holds a card number.
    """
    if not 0 < len(text) <= MAX_TEXT:
        raise _refused(Code.INVALID_REQUEST, field, "length", "Give 1 to 256 characters.")
    if not text.isprintable():
        raise _refused(Code.INVALID_REQUEST, field, "printable", "Use printable characters alone.")
    if looks_like_card_number(text):
        raise _refused(
            Code.SENSITIVE_VALUE_IN_METADATA,
            field,
            "no_card_number",
            "This is kept in clear and holds what looks like a card number; send a"
            " reference of your own instead.",
        )
    if sensitive_in_metadata(text):
        raise _refused(
            Code.SENSITIVE_AUTHENTICATION_DATA,
            field,
            "no_authentication_data",
            "Card verification codes, track data and PINs are never accepted.",
        )


def check_tags(tags: Mapping[str, str], field: str) -> Tags:
    """The tags as sorted pairs; raises as :func:`check_text` for unusable ones."""
    if len(tags) > MAX_TAGS:
        raise _refused(Code.INVALID_REQUEST, field, "count", "Give at most 16 tags.")
    for name, value in tags.items():
        if len(name) > MAX_TAG_NAME:
            raise _refused(Code.INVALID_REQUEST, field, "length", "Shorten the tag's name.")
        if is_sad_class_name(name):
            raise _refused(
                Code.SENSITIVE_AUTHENTICATION_DATA,
                field,
                "no_authentication_data",
                "Card verification codes, track data and PINs are never accepted.",
            )
        check_text(name, field)
        check_text(value, field)
    return tuple(sorted(tags.items()))


def _refused(code: Code, field: str, rule: str, detail: str) -> VaultError:
    return VaultError(code, detail, errors=(FieldError(field, rule, detail),))
