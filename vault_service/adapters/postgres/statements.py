"""The hot statements, in SQL, each a single query.

Every transaction begins with ``SET_TENANT``; row-level security then holds each of them
to that tenant, and the ``tenant`` conditions say so once more. Parameters travel in
binary form, never in the text, so no statement in a log or in ``pg_stat_statements``
holds a value.
"""

from typing import Final

SET_TENANT: Final = "SELECT set_config('strongroom.tenant', %b, true)"

INSERT_ROWS: Final = (
    "INSERT INTO strongroom.tokens"
    " (tenant, token, data_class, key_id, ciphertext, blind_index, index_key_id, tags,"
    " subject, created_at, expires_at)"
    " SELECT %b, r.token, r.data_class, r.key_id::bigint, r.ciphertext,"
    " r.blind_index, r.index_key_id::bigint, r.tags::jsonb, r.subject, now(),"
    " r.expires_at::timestamptz"
    " FROM unnest(%b::text[], %b::text[], %b::text[], %b::bytea[], %b::bytea[], %b::text[],"
    " %b::text[], %b::text[], %b::text[]) AS r"
    " (token, data_class, key_id, ciphertext, blind_index, index_key_id, tags, subject,"
    " expires_at)"
    " ON CONFLICT ON CONSTRAINT tokens_blind_index DO NOTHING RETURNING token"
)
LOCK_ROWS: Final = (
    "SELECT FROM strongroom.tokens WHERE tenant = %b AND token = ANY (%b::text[])"
    " ORDER BY token FOR NO KEY UPDATE"
)
ADOPT_SUBJECTS: Final = (
    "UPDATE strongroom.tokens AS t SET subject = r.subject"
    " FROM unnest(%b::text[], %b::text[]) AS r (token, subject)"
    " WHERE t.token = r.token AND t.tenant = %b AND t.subject IS NULL"
)
LINK_SUBJECTS: Final = (
    "INSERT INTO strongroom.token_subjects (tenant, token, subject)"
    " SELECT t.tenant, t.token, r.subject"
    " FROM unnest(%b::text[], %b::text[]) AS r (token, subject)"
    " JOIN strongroom.tokens AS t ON t.token = r.token AND t.tenant = %b"
    " WHERE t.subject IS DISTINCT FROM r.subject ON CONFLICT DO NOTHING"
)
EXTEND_EXPIRY: Final = (
    "UPDATE strongroom.tokens AS t SET expires_at ="
    " CASE WHEN r.expires_at = '' THEN NULL"
    " ELSE greatest(t.expires_at, r.expires_at::timestamptz) END"
    " FROM unnest(%b::text[], %b::text[]) AS r (token, expires_at)"
    " WHERE t.token = r.token AND t.tenant = %b AND t.expires_at IS NOT NULL"
)
# Never prepared: a plan that is kept may be of a time when the table was nearly empty, and
# reads all of it for each value once it is not.
FIND: Final = (
    "SELECT token, data_class, key_id, ciphertext, tags::text, subject, expires_at, blind_index"
    " FROM strongroom.tokens WHERE tenant = %b AND blind_index = ANY (%b::bytea[])"
)
DELETE: Final = "DELETE FROM strongroom.tokens WHERE token = %b AND tenant = %b"
_EVENTS: Final = "%b::text[], " * 7 + "%b::integer[], " * 2 + "%b::bytea[]"
APPEND_EVENTS: Final = f"SELECT strongroom.append_events(%b, {_EVENTS})"
_WINDOWS: Final = (
    "%b, %b::bigint, %b::text[], %b::text[], %b::text[], %b::text[]::timestamptz[],"
    " %b::text[]::bigint[]"
)
DRAW: Final = f"SELECT strongroom.draw_on_budgets(%b, {_WINDOWS})"
DRAW_AND_APPEND: Final = f"SELECT strongroom.draw_and_append(%b, {_WINDOWS}, {_EVENTS})"
BUDGETS_USED: Final = (
    "SELECT purpose, kind, window_start, used"
    " FROM strongroom.budgets_used(%b, %b, %b::text[], %b::text[]::timestamptz[])"
)
COUNT_REPORT_READ: Final = (
    "SELECT strongroom.count_report_read(%b, %b, %b::bytea, %b::bigint, %b::bigint)"
)
STORE_NEW: Final = (
    "SELECT strongroom.store_new(%b, %b::text[], %b::text[], %b::text[], %b::bytea[],"
    f" %b::bytea[], %b::text[], %b::text[], %b::text[], %b::text[], {_EVENTS})"
)
STORE_NEW_BATCH: Final = (
    "SELECT strongroom.store_new_batch(%b, %b, %b, %b, %b::text::jsonb, %b::text[],"
    f" %b::bytea[], %b::bytea[], {_EVENTS})"
)
FETCH: Final = (
    "SELECT data_class, key_id, tags, tokens, ciphertexts, subjects, expiries"
    " FROM strongroom.fetch_tokens(%b, %b::text[])"
)
DESCRIBE: Final = (
    "SELECT token, data_class, key_id, ciphertext, tags::text, subject, expires_at, created_at"
    " FROM strongroom.tokens WHERE token = %b AND tenant = %b"
)
KEEP_ANSWER: Final = (
    "UPDATE strongroom.idempotency SET answer = %b"
    " WHERE tenant = %b AND principal = %b AND key = %b AND request_digest = %b"
)
