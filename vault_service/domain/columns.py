"""The names that Arrow bodies use, shared by the service and the client.

A request is one Arrow IPC stream (``application/vnd.apache.arrow.stream``) whose
columns are named like the fields of the JSON items; what JSON says once a request
(mode, purpose, case) is schema metadata. The answer is a stream in the same manner,
one row an item, in the order of the request.
"""

from typing import Final

MEDIA_TYPE: Final = "application/vnd.apache.arrow.stream"

# Columns of a tokenize request. Only the first two must be there.
DATA_CLASS: Final = "data_class"
"""string (or a dictionary of strings): the data class of the item."""
VALUE: Final = "value"
"""string: the value; also the revealed value in a detokenize answer."""
REFERENCE: Final = "reference"
"""string, optional: the caller's own name for the item, given back unchanged."""
SUBJECT: Final = "subject"
"""string, optional: the person the value belongs to, by an opaque id."""
TAGS: Final = "tags"
"""map<string, string>, optional: tags of the token."""
EXPIRES_IN: Final = "expires_in"
"""int64, optional: seconds after which the token no longer resolves."""

# Columns of a detokenize request, beside ``reference``. Only the first must be there.
TOKEN: Final = "token"
"""string: the token; also the new token in a tokenize answer."""
FORM: Final = "form"
"""string, optional: the form asked for, ``masked`` where it is absent or null."""

# Further columns of an answer.
INDEX: Final = "index"
"""int64: position of the item in the request, from 0."""
STATUS: Final = "status"
"""string: ``ok`` or ``error``."""
MASKED: Final = "masked"
"""string: the masked form of a tokenized value."""
ERROR_CODE: Final = "error_code"
"""string: the stable code where ``status`` is ``error``, else null."""
ERROR_DETAIL: Final = "error_detail"
"""string: constant text where ``status`` is ``error``, else null."""
ERROR_RETRYABLE: Final = "error_retryable"
"""bool: whether the item may succeed later, unchanged; null where it is ok."""

TOKENIZE_COLUMNS: Final = (DATA_CLASS, VALUE, REFERENCE, SUBJECT, TAGS, EXPIRES_IN)
DETOKENIZE_COLUMNS: Final = (TOKEN, FORM, REFERENCE)

# Schema metadata, keys and values in UTF-8.
MODE_KEY: Final = b"mode"
PURPOSE_KEY: Final = b"purpose"
CASE_KEY: Final = b"case"
REQUEST_ID_KEY: Final = b"request_id"
EVENT_ID_KEY: Final = b"event_id"
