"""The index that finds events by token and subject, built behind the log in segments.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# A segment holds the search terms of the events after one position up to another; segments
# follow on one another without a gap. Its postings are one array a bucket, which is what the
# term's upper bits say; each is the term, and behind it in 32 bits where in the segment the
# event is. They are the owner's alone: they hold the terms of all tenants.
_TABLES = """
CREATE TABLE strongroom.event_segments (
    last_position  bigint PRIMARY KEY,
    after_position bigint NOT NULL,
    merged         boolean NOT NULL,
    shift          integer NOT NULL,
    terms          bigint NOT NULL,
    first_at       timestamptz NOT NULL,
    last_at        timestamptz NOT NULL
);
CREATE TABLE strongroom.event_postings (
    last_position bigint NOT NULL,
    bucket        integer NOT NULL,
    postings      bigint[] NOT NULL,
    PRIMARY KEY (last_position, bucket)
);
-- Terms are random: trying to compress them costs time and gains nothing.
ALTER TABLE strongroom.event_postings ALTER COLUMN postings SET STORAGE EXTERNAL;

DROP FUNCTION strongroom.find_events(integer[]);
DROP INDEX strongroom.audit_events_terms;
"""

# A position is drawn before its transaction ends, so the highest that was drawn is indexed
# when all have ended that may have drawn one up to it. Whoever inserts holds a lock of this
# mode on the table from before it draws until what it did is visible.
_SETTLE = """
CREATE FUNCTION strongroom.settled_position() RETURNS bigint
    LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    highest bigint := (
        SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM strongroom.audit_positions);
    writers text[] := ARRAY(
        SELECT l.virtualtransaction FROM pg_catalog.pg_locks AS l
        JOIN pg_catalog.pg_database AS d ON d.oid = l.database
        WHERE d.datname = current_database() AND l.granted AND l.mode = 'RowExclusiveLock'
            AND l.relation = 'strongroom.audit_events'::regclass);
BEGIN
    FOR try IN 1..100 LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_locks AS l
            WHERE l.virtualtransaction = ANY (writers) AND l.mode = 'RowExclusiveLock'
                AND l.relation = 'strongroom.audit_events'::regclass) THEN
            RETURN highest;
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION strongroom.settled_position() FROM PUBLIC;
"""

# Some 90 to 180 postings a bucket, which fit in a row.
_BUCKETS = """
CREATE FUNCTION strongroom.bucket_shift(terms bigint) RETURNS integer
    LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT 32 - least(31, greatest(0, floor(log(2, greatest(terms, 1) / 90.0))::integer))
$$;
REVOKE EXECUTE ON FUNCTION strongroom.bucket_shift(bigint) FROM PUBLIC;
"""

_INDEX = """
CREATE FUNCTION strongroom.index_events(least_events integer, least_terms integer)
    RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''
    SET work_mem = '64MB' SET plan_cache_mode = 'force_custom_plan' AS $$
DECLARE
    made strongroom.event_segments;
    found_events bigint;
    upto bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('strongroom.index_events')) THEN
        RETURN false;
    END IF;
    IF (SELECT count(*) FROM strongroom.event_segments WHERE NOT merged) >= 32 THEN
        PERFORM strongroom.merge_event_segments(32);
        RETURN true;
    END IF;
    made.after_position := coalesce(
        (SELECT max(s.last_position) FROM strongroom.event_segments AS s), 0);
    -- So few that not even the largest events would be worth a segment.
    IF (SELECT last_value FROM strongroom.audit_positions) - made.after_position < least(
        least_events, 16) THEN
        RETURN false;
    END IF;
    upto := strongroom.settled_position();
    -- An array's size tells its length without its being read. Of a log that was never
    -- indexed, as much at a time as takes a second.
    SELECT max(e.position), count(*), coalesce(sum(e.terms), 0), min(e.occurred_at),
        max(e.occurred_at)
    INTO made.last_position, found_events, made.terms, made.first_at, made.last_at
    FROM (SELECT e.position, e.occurred_at, pg_column_size(e.terms) / 4 AS terms,
            sum(pg_column_size(e.terms) / 4) OVER (ORDER BY e.position) AS terms_so_far
        FROM strongroom.audit_events AS e
        WHERE e.position > made.after_position AND e.position <= upto
            AND e.position - made.after_position < 2147483648
        ORDER BY e.position LIMIT 65536) AS e
    WHERE e.terms_so_far - e.terms < 524288;
    IF found_events < least_events AND made.terms < least_terms OR found_events = 0 THEN
        RETURN false;
    END IF;
    made.merged := false;
    made.shift := strongroom.bucket_shift(made.terms);
    INSERT INTO strongroom.event_segments SELECT made.*;
    INSERT INTO strongroom.event_postings
    SELECT made.last_position, (term >> made.shift)::integer,
        array_agg(term << 32 | e.position - made.after_position)
    FROM strongroom.audit_events AS e, unnest(e.terms::bigint[]) AS term
    WHERE e.position > made.after_position AND e.position <= made.last_position
        AND e.occurred_at BETWEEN made.first_at AND made.last_at
    GROUP BY 2;
    RETURN true;
END $$;

CREATE FUNCTION strongroom.merge_event_segments(how_many integer) RETURNS void
    LANGUAGE plpgsql SET search_path = '' SET work_mem = '64MB' AS $$
DECLARE
    made strongroom.event_segments;
BEGIN
    SELECT max(s.last_position), min(s.after_position), true, 0, sum(s.terms), min(s.first_at),
        max(s.last_at)
    INTO made FROM (SELECT * FROM strongroom.event_segments AS s WHERE NOT s.merged
        ORDER BY s.last_position LIMIT how_many) AS s;
    made.shift := strongroom.bucket_shift(made.terms);
    WITH old_segments AS (
        DELETE FROM strongroom.event_segments AS s
        WHERE s.last_position > made.after_position AND s.last_position <= made.last_position
        RETURNING s.last_position, s.after_position
    ), old_postings AS (
        DELETE FROM strongroom.event_postings AS p
        WHERE p.last_position > made.after_position AND p.last_position <= made.last_position
        RETURNING p.last_position, p.postings
    )
    INSERT INTO strongroom.event_postings
    SELECT made.last_position, (posting >> 32 >> made.shift)::integer,
        array_agg(posting + (s.after_position - made.after_position))
    FROM old_postings AS p JOIN old_segments AS s USING (last_position),
        unnest(p.postings) AS posting
    GROUP BY 2;
    INSERT INTO strongroom.event_segments SELECT made.*;
END $$;
REVOKE EXECUTE ON FUNCTION strongroom.index_events(integer, integer) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION strongroom.merge_event_segments(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION strongroom.index_events(integer, integer) TO strongroom_service;
"""

# With the owner's rights, for the tenant of the transaction alone: array operators are not
# leakproof, so under row-level security they would be asked last, and the postings are of
# all tenants. It gives the time too, which names the partition.
#
# The plan is made once a session: to plan for every partition takes longer than to look.
_FIND = """
CREATE FUNCTION strongroom.find_events(wanted integer[], below bigint, most integer)
    RETURNS TABLE ("position" bigint, occurred_at timestamptz)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = ''
    SET plan_cache_mode = 'force_generic_plan' AS $$
DECLARE
    of_tenant text := current_setting('strongroom.tenant', true);
    segment strongroom.event_segments;
    left_to_find integer := most;
    found_here integer;
BEGIN
    -- What is in no segment yet, event by event.
    RETURN QUERY SELECT e.position, e.occurred_at FROM strongroom.audit_events AS e
    WHERE e.tenant = of_tenant AND e.position < below AND e.position > coalesce(
            (SELECT max(s.last_position) FROM strongroom.event_segments AS s), 0)
        AND CASE WHEN cardinality(wanted) <= 8 THEN e.terms && wanted
            ELSE EXISTS (SELECT FROM unnest(e.terms) AS term
                WHERE term IN (SELECT unnest(wanted))) END
    ORDER BY e.position DESC LIMIT left_to_find;
    GET DIAGNOSTICS found_here = ROW_COUNT;
    left_to_find := left_to_find - found_here;
    FOR segment IN SELECT * FROM strongroom.event_segments AS s
        WHERE s.after_position < below - 1 ORDER BY s.last_position DESC
    LOOP
        EXIT WHEN left_to_find <= 0; -- never, where all are wanted
        RETURN QUERY SELECT e.position, e.occurred_at
        FROM (SELECT DISTINCT segment.after_position + (posting & 4294967295) AS position
            FROM unnest(wanted) AS term
            JOIN strongroom.event_postings AS p ON p.last_position = segment.last_position
                AND p.bucket = (term::bigint >> segment.shift)::integer,
            unnest(p.postings) AS posting
            WHERE posting >> 32 = term ORDER BY 1 DESC) AS hit
        CROSS JOIN LATERAL (SELECT e.position, e.occurred_at FROM strongroom.audit_events AS e
            WHERE e.position = hit.position AND e.tenant = of_tenant
                AND e.occurred_at BETWEEN segment.first_at AND segment.last_at LIMIT 1) AS e
        WHERE e.position < below ORDER BY e.position DESC LIMIT left_to_find;
        GET DIAGNOSTICS found_here = ROW_COUNT;
        left_to_find := left_to_find - found_here;
    END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION strongroom.find_events(integer[], bigint, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION strongroom.find_events(integer[], bigint, integer)
    TO strongroom_service;
"""


# For the sealer too, which leaves alone what lies ahead of where positions are drawn.
_GRANTS = "GRANT SELECT ON SEQUENCE strongroom.audit_positions TO strongroom_sealer"


def upgrade() -> None:
    """Replace the index of the table; what is in the log already is indexed by and by."""
    op.execute(_TABLES)
    op.execute(_SETTLE)
    op.execute(_BUCKETS)
    op.execute(_INDEX)
    op.execute(_FIND)
    op.execute(_GRANTS)


def downgrade() -> None:
    """Refused: a release before this one would look for an index that is gone."""
    raise NotImplementedError("downgrading would need the old index built over the whole log")
