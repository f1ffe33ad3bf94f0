"""New values are stored without a deadlock, though several sessions store the same ones.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# An exclusion constraint is checked when the row is in the index already. Two sessions that
# store one value at the same moment both find the other's row and wait for each other, until
# PostgreSQL ends one a second later. A row that may give way (ON CONFLICT) does so at once.
_INSERT = """
CREATE OR REPLACE FUNCTION strongroom.store_new(
    of_tenant text, tokens text[], token_classes text[], key_ids text[], ciphertexts bytea[],
    blind_indexes bytea[], index_key_ids text[], tags text[], subjects text[],
    expiries text[], ids text[], times text[], principals text[], actions text[],
    outcomes text[], purposes text[], classes text[], terms integer[], term_ends integer[],
    bodies bytea[]
) RETURNS void LANGUAGE plpgsql AS $$
{declarations}
BEGIN
    PERFORM set_config('strongroom.tenant', of_tenant, true);
    INSERT INTO strongroom.tokens (tenant, token, data_class, key_id, ciphertext, blind_index,
        index_key_id, tags, subject, created_at, expires_at)
    SELECT of_tenant, r.token, r.data_class, r.key_id::bigint, r.ciphertext, r.blind_index,
        r.index_key_id::bigint, r.tags::jsonb, r.subject, now(), r.expires_at::timestamptz
    FROM unnest(tokens, token_classes, key_ids, ciphertexts, blind_indexes, index_key_ids,
        tags, subjects, expiries) AS r (token, data_class, key_id, ciphertext, blind_index,
        index_key_id, tags, subject, expires_at)
    {on_conflict};
    {check}
    PERFORM strongroom.append_events(of_tenant, ids, times, principals, actions, outcomes,
        purposes, classes, terms, term_ends, bodies);
END $$;

CREATE OR REPLACE FUNCTION strongroom.store_new_batch(
    of_tenant text, token_class text, key_id bigint, index_key_id bigint, tags jsonb,
    tokens text[], ciphertexts bytea[], blind_indexes bytea[],
    ids text[], times text[], principals text[], actions text[],
    outcomes text[], purposes text[], classes text[], terms integer[], term_ends integer[],
    bodies bytea[]
) RETURNS void LANGUAGE plpgsql AS $$
{declarations}
BEGIN
    PERFORM set_config('strongroom.tenant', of_tenant, true);
    INSERT INTO strongroom.tokens (tenant, token, data_class, key_id, ciphertext, blind_index,
        index_key_id, tags, created_at)
    SELECT of_tenant, r.token, token_class, store_new_batch.key_id, r.ciphertext,
        r.blind_index, store_new_batch.index_key_id, store_new_batch.tags, now()
    FROM unnest(tokens, ciphertexts, blind_indexes) AS r (token, ciphertext, blind_index)
    {on_conflict};
    {check}
    PERFORM strongroom.append_events(of_tenant, ids, times, principals, actions, outcomes,
        purposes, classes, terms, term_ends, bodies);
END $$;
"""

_GIVES_WAY = {
    "declarations": "DECLARE\n    stored bigint;",
    "on_conflict": "ON CONFLICT ON CONSTRAINT tokens_blind_index DO NOTHING",
    "check": """GET DIAGNOSTICS stored = ROW_COUNT;
    IF stored < cardinality(tokens) THEN
        RAISE exclusion_violation USING MESSAGE = 'a value is known',
            CONSTRAINT = 'tokens_blind_index';
    END IF;""",
}
_INSISTS = {"declarations": "", "on_conflict": "", "check": ""}


def upgrade() -> None:
    """Replace the two functions; rows are left as they are."""
    op.execute(_INSERT.format(**_GIVES_WAY))


def downgrade() -> None:
    """Put back the functions that insist on the row."""
    op.execute(_INSERT.format(**_INSISTS))
