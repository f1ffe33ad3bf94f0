"""A reveal's budget, a run's reads, and what is looked up for both, in one call each.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Windows are given in one order by all, and locked in it: draws wait and never deadlock.
# Subjects are counted by their rows, which nobody else adds while the window is locked.
_BUDGETS = """
CREATE FUNCTION strongroom.draw_on_budgets(
    of_tenant text, of_principal text, drawn bigint, of_subjects text[],
    purposes text[], kinds text[], starts timestamptz[], limits bigint[]
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    already bigint;
    added bigint;
BEGIN
    PERFORM set_config('strongroom.tenant', of_tenant, true);
    FOR i IN 1..cardinality(kinds) LOOP
        INSERT INTO strongroom.budget_usage
            (tenant, principal, purpose, kind, window_start, used)
        VALUES (of_tenant, of_principal, purposes[i], kinds[i], starts[i], 0)
        ON CONFLICT DO NOTHING;
        SELECT b.used INTO already FROM strongroom.budget_usage AS b
        WHERE b.tenant = of_tenant AND b.principal = of_principal AND b.purpose = purposes[i]
            AND b.kind = kinds[i] AND b.window_start = starts[i] FOR UPDATE;
        added := drawn;
        IF kinds[i] LIKE 'subjects%' THEN
            SELECT count(*) INTO added FROM unnest(of_subjects) AS s
            WHERE NOT EXISTS (SELECT FROM strongroom.budget_subjects AS b
                WHERE b.tenant = of_tenant AND b.principal = of_principal
                    AND b.purpose = purposes[i] AND b.kind = kinds[i]
                    AND b.window_start = starts[i] AND b.subject = s);
        END IF;
        IF already + added > limits[i] THEN
            RETURN i;
        END IF;
    END LOOP;
    FOR i IN 1..cardinality(kinds) LOOP
        added := drawn;
        IF kinds[i] LIKE 'subjects%' THEN
            INSERT INTO strongroom.budget_subjects
                (tenant, principal, purpose, kind, window_start, subject)
            SELECT of_tenant, of_principal, purposes[i], kinds[i], starts[i], s
            FROM unnest(of_subjects) AS s ON CONFLICT DO NOTHING;
            GET DIAGNOSTICS added = ROW_COUNT;
        END IF;
        UPDATE strongroom.budget_usage AS b SET used = b.used + added
        WHERE b.tenant = of_tenant AND b.principal = of_principal AND b.purpose = purposes[i]
            AND b.kind = kinds[i] AND b.window_start = starts[i];
    END LOOP;
    RETURN 0;
END $$;

CREATE FUNCTION strongroom.draw_and_append(
    of_tenant text, of_principal text, drawn bigint, of_subjects text[],
    budget_purposes text[], kinds text[], starts timestamptz[], limits bigint[],
    ids text[], times text[], principals text[], actions text[], outcomes text[],
    purposes text[], classes text[], terms integer[], term_ends integer[], bodies bytea[]
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    exceeded integer := strongroom.draw_on_budgets(
        of_tenant, of_principal, drawn, of_subjects, budget_purposes, kinds, starts, limits);
BEGIN
    IF exceeded = 0 THEN
        PERFORM strongroom.append_events(of_tenant, ids, times, principals, actions, outcomes,
            purposes, classes, terms, term_ends, bodies);
    END IF;
    RETURN exceeded;
END $$;

CREATE FUNCTION strongroom.budgets_used(
    of_tenant text, of_principal text, purposes text[], starts timestamptz[]
) RETURNS TABLE (purpose text, kind text, window_start timestamptz, used bigint)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('strongroom.tenant', of_tenant, true);
    RETURN QUERY SELECT b.purpose, b.kind, b.window_start, b.used
    FROM strongroom.budget_usage AS b
    WHERE b.tenant = of_tenant AND b.principal = of_principal
        AND b.purpose = ANY (purposes) AND b.window_start = ANY (starts);
END $$;
"""

# Reads of one run wait for each other at its row, so that none is counted twice.
_RUNS = """
CREATE FUNCTION strongroom.find_report_run(of_tenant text, of_run text)
RETURNS SETOF strongroom.report_runs LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('strongroom.tenant', of_tenant, true);
    RETURN QUERY SELECT * FROM strongroom.report_runs AS r
    WHERE r.tenant = of_tenant AND r.id = of_run;
END $$;

CREATE FUNCTION strongroom.count_report_read(
    of_tenant text, of_run text, of_digest bytea, counted bigint, cap bigint
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    already bigint;
BEGIN
    PERFORM set_config('strongroom.tenant', of_tenant, true);
    SELECT r.revealed INTO already FROM strongroom.report_runs AS r
    WHERE r.tenant = of_tenant AND r.id = of_run AND r.state = 'running' FOR UPDATE;
    IF already IS NULL THEN
        RETURN false;
    END IF;
    PERFORM FROM strongroom.report_reads AS d
    WHERE d.run = of_run AND d.tenant = of_tenant AND d.digest = of_digest;
    IF FOUND THEN
        RETURN true;
    END IF;
    IF already + counted > cap THEN
        RETURN false;
    END IF;
    INSERT INTO strongroom.report_reads (run, tenant, digest)
    VALUES (of_run, of_tenant, of_digest);
    UPDATE strongroom.report_runs AS r SET revealed = already + counted
    WHERE r.tenant = of_tenant AND r.id = of_run;
    RETURN true;
END $$;
"""


def upgrade() -> None:
    """Create the functions, which have their caller's rights."""
    op.execute(_BUDGETS)
    op.execute(_RUNS)


def downgrade() -> None:
    """Drop them."""
    for function in (
        "count_report_read(text, text, bytea, bigint, bigint)",
        "find_report_run(text, text)",
        "budgets_used(text, text, text[], timestamptz[])",
        "draw_and_append(text, text, bigint, text[], text[], text[], timestamptz[], bigint[],"
        " text[], text[], text[], text[], text[], text[], text[], integer[], integer[], bytea[])",
        "draw_on_budgets(text, text, bigint, text[], text[], text[], timestamptz[], bigint[])",
    ):
        op.execute(f"DROP FUNCTION strongroom.{function}")
