"""The hot statements, in SQL, each a single query.

Every transaction begins with ``SET_TENANT``; row-level security then holds each of them
to that tenant, and the ``tenant`` conditions say so once more. Parameters travel in
binary form, never in the text, so no statement in a log or in ``pg_stat_statements``
holds a value.
"""

from typing import Final

SET_TENANT: Final = "SELECT set_config('strongroom.tenant', %b, true)"

# Columns alike for all rows are parameters of their own: one per batch, not one per row.
_NEW_ROWS: Final = (
    "INSERT INTO strongroom.tokens"
    " (tenant, token, data_class, key_id, ciphertext, blind_index, index_key_id, tags,"
    " subject, created_at, expires_at)"
)
INSERT_BATCH: Final = (
    _NEW_ROWS + " SELECT %b, r.token, %b, %b, r.ciphertext, r.blind_index, %b, %b::text::jsonb,"
    " NULL, now(), NULL"
    " FROM unnest(%b::text[], %b::bytea[], %b::bytea[]) AS r (token, ciphertext, blind_index)"
)
INSERT_FULL: Final = (
    _NEW_ROWS + " SELECT %b, r.token, r.data_class, r.key_id::bigint, r.ciphertext,"
    " r.blind_index, r.index_key_id::bigint, r.tags::jsonb, r.subject, now(),"
    " r.expires_at::timestamptz"
    " FROM unnest(%b::text[], %b::text[], %b::text[], %b::bytea[], %b::bytea[], %b::text[],"
    " %b::text[], %b::text[], %b::text[]) AS r"
    " (token, data_class, key_id, ciphertext, blind_index, index_key_id, tags, subject,"
    " expires_at)"
)
ON_CONFLICT: Final = (
    " ON CONFLICT (blind_index) WHERE blind_index IS NOT NULL DO NOTHING RETURNING token"
)
SELECT_BY_INDEX: Final = (
    "SELECT blind_index, token, tags::text, subject, expires_at FROM strongroom.tokens"
    " WHERE tenant = %b AND blind_index = ANY (%b::bytea[])"
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
_RECORD: Final = (
    "SELECT token, data_class, key_id, ciphertext, tags::text, subject, created_at, expires_at"
)
FETCH: Final = _RECORD + " FROM strongroom.tokens WHERE tenant = %b AND token = ANY (%b::text[])"
FIND: Final = (
    _RECORD + ", blind_index FROM strongroom.tokens"
    " WHERE tenant = %b AND blind_index = ANY (%b::bytea[])"
)
DELETE: Final = "DELETE FROM strongroom.tokens WHERE token = %b AND tenant = %b"
INSERT_EVENTS: Final = (
    "INSERT INTO strongroom.audit_events (id, occurred_at, tenant, principal, action, outcome,"
    " purpose, data_classes, terms, body)"
    " SELECT r.id, r.occurred_at::timestamptz, %b, r.principal, r.action, r.outcome, r.purpose,"
    " r.data_classes::text[], r.terms::integer[], r.body"
    " FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[],"
    " %b::text[], %b::text[], %b::bytea[]) AS r"
    " (id, occurred_at, principal, action, outcome, purpose, data_classes, terms, body)"
)
KEEP_ANSWER: Final = (
    "UPDATE strongroom.idempotency SET answer = %b"
    " WHERE tenant = %b AND principal = %b AND key = %b AND request_digest = %b"
)
