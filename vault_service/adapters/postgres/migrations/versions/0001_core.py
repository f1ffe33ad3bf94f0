"""The core: keys, tokens, audit events, idempotency, budgets, credentials.

Revision ID: 0001
Revises:
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = """
CREATE SEQUENCE strongroom.data_key_ids;

CREATE TABLE strongroom.data_keys (
    id           bigint PRIMARY KEY,
    tenant       text COLLATE "C" NOT NULL,
    data_class   text COLLATE "C" NOT NULL,
    purpose      text COLLATE "C" NOT NULL,
    epoch        integer NOT NULL,
    state        text COLLATE "C" NOT NULL,
    wrapped      bytea NOT NULL,
    wrapper      text COLLATE "C" NOT NULL,
    wrapped_by   bigint REFERENCES strongroom.data_keys (id),
    uses         bigint NOT NULL,
    created_at   timestamptz NOT NULL,
    CONSTRAINT data_keys_epoch UNIQUE (tenant, data_class, purpose, epoch)
);

-- A tenant's class has one key for its blind index: two would give one value two tokens.
CREATE UNIQUE INDEX data_keys_one_active ON strongroom.data_keys (tenant, data_class, purpose)
    WHERE state = 'active' AND purpose <> 'record';

CREATE TABLE strongroom.tokens (
    tenant       text COLLATE "C" NOT NULL,
    token        text COLLATE "C" NOT NULL,
    data_class   text COLLATE "C" NOT NULL,
    key_id       bigint NOT NULL,
    ciphertext   bytea NOT NULL,
    blind_index  bytea,
    index_key_id bigint,
    tags         jsonb,
    subject      text COLLATE "C",
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    PRIMARY KEY (token, tenant)
);
CREATE UNIQUE INDEX tokens_blind_index ON strongroom.tokens (blind_index)
    WHERE blind_index IS NOT NULL;
CREATE INDEX tokens_subject ON strongroom.tokens (tenant, subject) WHERE subject IS NOT NULL;

CREATE TABLE strongroom.token_subjects (
    tenant  text COLLATE "C" NOT NULL,
    token   text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    PRIMARY KEY (token, tenant, subject),
    CONSTRAINT token_subjects_token FOREIGN KEY (token, tenant)
        REFERENCES strongroom.tokens (token, tenant) ON DELETE CASCADE
);
CREATE INDEX token_subjects_subject ON strongroom.token_subjects (tenant, subject);

-- Identity columns of partitioned tables need PostgreSQL 17. That nobody chooses a position
-- is the grants' part: no role may insert into the column.
CREATE SEQUENCE strongroom.audit_positions;

-- One partition a month (UTC), so that what is past its retention can be taken off whole
-- (PCI-DSS 10.5.1). Keys hold within a partition, so each has the time beside it. Two
-- events with one position, or one id, would have to differ in time: positions come from
-- the sequence, ids carry 48 bits of time and 82 random bits, and log_leaves has each
-- position once, so that nothing is sealed twice.
CREATE TABLE strongroom.audit_events (
    position     bigint NOT NULL DEFAULT nextval('strongroom.audit_positions'),
    id           text COLLATE "C" NOT NULL,
    occurred_at  timestamptz NOT NULL,
    tenant       text COLLATE "C" NOT NULL,
    principal    text COLLATE "C",
    action       text COLLATE "C" NOT NULL,
    outcome      text COLLATE "C" NOT NULL,
    purpose      text COLLATE "C",
    data_classes text[] COLLATE "C" NOT NULL,
    terms        integer[] NOT NULL,
    body         bytea NOT NULL,
    PRIMARY KEY (position, occurred_at),
    CONSTRAINT audit_events_id UNIQUE (id, occurred_at)
) PARTITION BY RANGE (occurred_at);
ALTER SEQUENCE strongroom.audit_positions OWNED BY strongroom.audit_events.position;
CREATE INDEX audit_events_principal ON strongroom.audit_events (tenant, principal, position);
-- A short pending list: whoever fills it sorts it in while a caller waits.
CREATE INDEX audit_events_terms ON strongroom.audit_events USING gin (terms)
    WITH (gin_pending_list_limit = 512);
-- Tokens are random: trying to compress a body costs time and gains nothing.
ALTER TABLE strongroom.audit_events ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE strongroom.audit_events ALTER COLUMN terms SET STORAGE EXTERNAL;

CREATE TABLE strongroom.idempotency (
    tenant         text COLLATE "C" NOT NULL,
    principal      text COLLATE "C" NOT NULL,
    key            text COLLATE "C" NOT NULL,
    request_digest bytea NOT NULL,
    answer         bytea,
    lease_until    timestamptz NOT NULL,
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant, principal, key)
);

CREATE TABLE strongroom.budget_usage (
    tenant       text COLLATE "C" NOT NULL,
    principal    text COLLATE "C" NOT NULL,
    purpose      text COLLATE "C" NOT NULL,
    kind         text COLLATE "C" NOT NULL,
    window_start timestamptz NOT NULL,
    used         bigint NOT NULL,
    PRIMARY KEY (tenant, principal, purpose, kind, window_start)
);

CREATE TABLE strongroom.budget_subjects (
    tenant       text COLLATE "C" NOT NULL,
    principal    text COLLATE "C" NOT NULL,
    purpose      text COLLATE "C" NOT NULL,
    kind         text COLLATE "C" NOT NULL,
    window_start timestamptz NOT NULL,
    subject      text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, principal, purpose, kind, window_start, subject)
);

CREATE TABLE strongroom.api_keys (
    id           text COLLATE "C" PRIMARY KEY,
    principal    text COLLATE "C" NOT NULL,
    key_hash     bytea NOT NULL UNIQUE,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL CHECK (expires_at <= created_at + interval '90 days'),
    revoked_at   timestamptz,
    last_used_at timestamptz
);
CREATE INDEX api_keys_principal ON strongroom.api_keys (principal);

CREATE TABLE strongroom.auth_failures (
    source       text COLLATE "C" NOT NULL,
    window_start timestamptz NOT NULL,
    failures     integer NOT NULL,
    PRIMARY KEY (source, window_start)
);
"""

# PCI-DSS 10.3.2: not even the table's owner changes or removes an event by accident.
_APPEND_ONLY = """
CREATE FUNCTION strongroom.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit events are append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_events_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON strongroom.audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION strongroom.refuse_change();
"""

# A partition is as closed as its parent to whoever names it: no grants, row-level security
# without a policy, and a trigger of its own, since one for statements fires for the table
# that is named, and one for rows would go when the partition is detached.
#
# CREATE TABLE ... PARTITION OF would hold up every insert. ATTACH does not, but nobody reads
# the default partition meanwhile, and it is scanned for rows of the new one: so it is waited
# for a moment only, and left alone where it is large. A month that gets no partition has its
# events in the default one, where they stay.
_PARTITIONS = """
CREATE FUNCTION strongroom.add_audit_partition(month date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    name text := 'audit_events_' || coalesce(to_char(month, 'YYYY_MM'), 'default');
BEGIN
    EXECUTE format(
        'CREATE TABLE strongroom.%I (LIKE strongroom.audit_events INCLUDING STORAGE)', name);
    EXECUTE format('ALTER TABLE strongroom.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE TRIGGER audit_events_append_only'
        ' BEFORE UPDATE OR DELETE OR TRUNCATE ON strongroom.%I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION strongroom.refuse_change()', name);
    EXECUTE format('ALTER TABLE strongroom.audit_events ATTACH PARTITION strongroom.%I ', name)
        || CASE WHEN month IS NULL THEN 'DEFAULT' ELSE format('FOR VALUES FROM (%L) TO (%L)',
            month::timestamp AT TIME ZONE 'UTC',
            (month + interval '1 month') AT TIME ZONE 'UTC') END;
END $$;

CREATE FUNCTION strongroom.ensure_audit_partitions() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET lock_timeout = '250ms' AS $$
DECLARE
    first timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
    missing date[] := ARRAY(
        SELECT wanted::date
        FROM generate_series(first, first + interval '3 months', interval '1 month') AS wanted
        WHERE to_regclass('strongroom.audit_events_' || to_char(wanted, 'YYYY_MM')) IS NULL);
    month date;
BEGIN
    IF missing = '{}' OR pg_relation_size('strongroom.audit_events_default') > 64 << 20
        OR NOT pg_try_advisory_xact_lock(hashtext('strongroom.ensure_audit_partitions')) THEN
        RETURN;
    END IF;
    FOREACH month IN ARRAY missing LOOP
        BEGIN
            PERFORM strongroom.add_audit_partition(month);
        EXCEPTION
            -- Another was quicker; the default partition has events of the month; or it is
            -- being read: there are three months to come back in.
            WHEN duplicate_table OR check_violation OR lock_not_available THEN NULL;
        END;
    END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION strongroom.add_audit_partition(date) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION strongroom.ensure_audit_partitions() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION strongroom.ensure_audit_partitions() TO strongroom_sealer;

SELECT strongroom.add_audit_partition(NULL);
"""

# Array containment is not a leakproof operator, so under row-level security the planner
# may not use the index for it. This asks the index with the owner's rights, for the
# tenant of the transaction alone. It gives the time too, which names the partition.
_FIND_EVENTS = """
CREATE FUNCTION strongroom.find_events(wanted integer[])
    RETURNS TABLE ("position" bigint, occurred_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT e.position, e.occurred_at FROM strongroom.audit_events AS e
    WHERE e.tenant = current_setting('strongroom.tenant', true) AND e.terms @> wanted
$$;
REVOKE EXECUTE ON FUNCTION strongroom.find_events(integer[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION strongroom.find_events(integer[]) TO strongroom_service;
"""

# The hot path in one statement each: a statement sent costs the service more than most of
# what the database does for it. Each sets the tenant first, so that row-level security
# holds for what follows in it, and is a transaction of its own.
_HOT_PATH = """
CREATE FUNCTION strongroom.append_events(
    of_tenant text, ids text[], times text[], principals text[], actions text[],
    outcomes text[], purposes text[], classes text[], terms integer[], term_ends integer[],
    bodies bytea[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('strongroom.tenant', of_tenant, true);
    INSERT INTO strongroom.audit_events (id, occurred_at, tenant, principal, action, outcome,
        purpose, data_classes, terms, body)
    -- The terms of all events are one array, one event's behind the other's.
    SELECT r.id, r.occurred_at::timestamptz, of_tenant, r.principal, r.action, r.outcome,
        r.purpose, r.data_classes::text[],
        terms[coalesce(term_ends[r.number - 1], 0) + 1:term_ends[r.number]], r.body
    FROM unnest(ids, times, principals, actions, outcomes, purposes, classes, bodies)
        WITH ORDINALITY AS r (id, occurred_at, principal, action, outcome, purpose,
            data_classes, body, number);
END $$;

CREATE FUNCTION strongroom.store_new(
    of_tenant text, tokens text[], token_classes text[], key_ids text[], ciphertexts bytea[],
    blind_indexes bytea[], index_key_ids text[], tags text[], subjects text[],
    expiries text[], ids text[], times text[], principals text[], actions text[],
    outcomes text[], purposes text[], classes text[], terms integer[], term_ends integer[],
    bodies bytea[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('strongroom.tenant', of_tenant, true);
    INSERT INTO strongroom.tokens (tenant, token, data_class, key_id, ciphertext, blind_index,
        index_key_id, tags, subject, created_at, expires_at)
    SELECT of_tenant, r.token, r.data_class, r.key_id::bigint, r.ciphertext, r.blind_index,
        r.index_key_id::bigint, r.tags::jsonb, r.subject, now(), r.expires_at::timestamptz
    FROM unnest(tokens, token_classes, key_ids, ciphertexts, blind_indexes, index_key_ids,
        tags, subjects, expiries) AS r (token, data_class, key_id, ciphertext, blind_index,
        index_key_id, tags, subject, expires_at);
    PERFORM strongroom.append_events(of_tenant, ids, times, principals, actions, outcomes,
        purposes, classes, terms, term_ends, bodies);
END $$;

CREATE FUNCTION strongroom.store_new_batch(
    of_tenant text, token_class text, key_id bigint, index_key_id bigint, tags jsonb,
    tokens text[], ciphertexts bytea[], blind_indexes bytea[],
    ids text[], times text[], principals text[], actions text[],
    outcomes text[], purposes text[], classes text[], terms integer[], term_ends integer[],
    bodies bytea[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('strongroom.tenant', of_tenant, true);
    INSERT INTO strongroom.tokens (tenant, token, data_class, key_id, ciphertext, blind_index,
        index_key_id, tags, created_at)
    SELECT of_tenant, r.token, token_class, store_new_batch.key_id, r.ciphertext,
        r.blind_index, store_new_batch.index_key_id, store_new_batch.tags, now()
    FROM unnest(tokens, ciphertexts, blind_indexes) AS r (token, ciphertext, blind_index);
    PERFORM strongroom.append_events(of_tenant, ids, times, principals, actions, outcomes,
        purposes, classes, terms, term_ends, bodies);
END $$;

-- One row for all tokens of a class, key and tags: what a service makes of a row costs it
-- as much as finding it costs here. A column of nulls is one null.
CREATE FUNCTION strongroom.fetch_tokens(of_tenant text, wanted text[])
RETURNS TABLE (data_class text, key_id bigint, tags text, tokens text[], ciphertexts bytea[],
    subjects text[], expiries timestamptz[])
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('strongroom.tenant', of_tenant, true);
    RETURN QUERY SELECT t.data_class, t.key_id, t.tags::text, array_agg(t.token),
        array_agg(t.ciphertext),
        CASE WHEN count(t.subject) > 0 THEN array_agg(t.subject) END,
        CASE WHEN count(t.expires_at) > 0 THEN array_agg(t.expires_at) END
    FROM strongroom.tokens AS t WHERE t.tenant = of_tenant AND t.token = ANY (wanted)
    GROUP BY t.data_class, t.key_id, t.tags::text;
END $$;
"""

_FENCED = (
    "data_keys",
    "tokens",
    "token_subjects",
    "audit_events",
    "idempotency",
    "budget_usage",
    "budget_subjects",
)

_GRANTS = """
GRANT USAGE ON SCHEMA strongroom TO strongroom_service, strongroom_sealer, strongroom_auditor;
GRANT USAGE ON SEQUENCE strongroom.data_key_ids TO strongroom_service;
GRANT SELECT, INSERT ON strongroom.data_keys TO strongroom_service;
GRANT UPDATE (state, uses) ON strongroom.data_keys TO strongroom_service;
GRANT SELECT, INSERT, DELETE ON strongroom.tokens TO strongroom_service;
GRANT UPDATE (expires_at, subject) ON strongroom.tokens TO strongroom_service;
GRANT SELECT, INSERT, DELETE ON strongroom.token_subjects TO strongroom_service;
GRANT USAGE ON SEQUENCE strongroom.audit_positions TO strongroom_service;
GRANT SELECT ON strongroom.audit_events TO strongroom_service;
GRANT INSERT (id, occurred_at, tenant, principal, action, outcome, purpose, data_classes, terms,
    body) ON strongroom.audit_events TO strongroom_service;
GRANT SELECT, INSERT, DELETE ON strongroom.idempotency TO strongroom_service;
GRANT UPDATE (request_digest, answer, lease_until, created_at)
    ON strongroom.idempotency TO strongroom_service;
GRANT SELECT, INSERT, DELETE ON strongroom.budget_usage TO strongroom_service;
GRANT UPDATE (used) ON strongroom.budget_usage TO strongroom_service;
GRANT SELECT, INSERT, DELETE ON strongroom.budget_subjects TO strongroom_service;
GRANT SELECT, INSERT ON strongroom.api_keys TO strongroom_service;
GRANT UPDATE (expires_at, revoked_at, last_used_at) ON strongroom.api_keys TO strongroom_service;
GRANT SELECT, INSERT, DELETE ON strongroom.auth_failures TO strongroom_service;
GRANT UPDATE (failures) ON strongroom.auth_failures TO strongroom_service;
GRANT SELECT ON strongroom.audit_events TO strongroom_sealer, strongroom_auditor;
GRANT SELECT ON strongroom.alembic_version
    TO strongroom_service, strongroom_sealer, strongroom_auditor;
"""


def upgrade() -> None:
    """Create the tables, their fences, and what each role may do (PCI-DSS 7.2.5)."""
    op.execute(_TABLES)
    op.execute(_APPEND_ONLY)
    op.execute(_PARTITIONS)
    for table in _FENCED:
        op.execute(f"ALTER TABLE strongroom.{table} ENABLE ROW LEVEL SECURITY")
        if table != "audit_events":  # which find_events reads as its owner
            op.execute(f"ALTER TABLE strongroom.{table} FORCE ROW LEVEL SECURITY")
        # The sub-select makes the setting a constant of the statement, read once
        # instead of once a row.
        op.execute(
            f"CREATE POLICY tenant ON strongroom.{table} TO strongroom_service"
            " USING (tenant = (SELECT current_setting('strongroom.tenant', true)))"
        )
    op.execute(
        "CREATE POLICY readers ON strongroom.audit_events FOR SELECT"
        " TO strongroom_sealer, strongroom_auditor USING (true)"
    )
    op.execute(_FIND_EVENTS)
    op.execute(_HOT_PATH)
    op.execute(_GRANTS)


def downgrade() -> None:
    """Refused: it would drop every token. Restore a backup instead."""
    raise NotImplementedError("downgrading the first migration would drop every token")
