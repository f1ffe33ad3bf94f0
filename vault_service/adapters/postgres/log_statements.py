"""The statements of the transparency log, in SQL; see ``migrations/0002``."""

from typing import Final

LOCK: Final = 0x5374726F6E67  # any number of our own
TRY_LOCK: Final = "SELECT pg_try_advisory_lock(%s)"

PATIENCE: Final = "SET statement_timeout = '5min'"
"""For what is asked of a whole log, over a connection that holds nothing up."""
SIZE: Final = "SELECT size FROM strongroom.log_tree"
STATE: Final = "SELECT size, settled, wanted FROM strongroom.log_tree"
TILES: Final = (
    "SELECT t.level, t.tile_index, t.hashes FROM unnest(%s::smallint[], %s::bigint[])"
    " AS wanted (level, tile_index)"
    " JOIN strongroom.log_tiles AS t USING (level, tile_index)"
)
_CHECKPOINT: Final = "SELECT tree_size, note, created_at FROM strongroom.log_checkpoints"
NEWEST_CHECKPOINT: Final = f"{_CHECKPOINT} ORDER BY tree_size DESC LIMIT 1"
CHECKPOINTS: Final = f"{_CHECKPOINT} WHERE tree_size > %s AND tree_size <= %s ORDER BY tree_size"
CHECKPOINT_OF: Final = f"{_CHECKPOINT} WHERE tree_size >= %s ORDER BY tree_size LIMIT 1"
LOOSE_CHECKPOINTS: Final = f"{_CHECKPOINT} WHERE anchored_at IS NULL ORDER BY tree_size LIMIT %s"

SEALED_AFTER: Final = (
    "SELECT position FROM strongroom.log_leaves WHERE position > %s ORDER BY position"
)
# RFC 6962 2.1: a leaf's hash is that of a zero byte and its data.
_LEAF: Final = r"e.position, e.occurred_at, sha256('\x00'::bytea || e.body)"
# Whoever has the database may put a row far ahead of where positions are drawn. Sealed, it
# would have the sealer look for new events behind it; left out, it raises the alarm.
NEW_EVENTS: Final = (
    f"SELECT {_LEAF} FROM strongroom.audit_events AS e"
    " WHERE e.position > %s AND e.position <="
    " (SELECT last_value FROM strongroom.audit_positions) ORDER BY e.position LIMIT %s"
)
# A limit for each gap too: without it the planner may walk the whole log in order.
LATE_EVENTS: Final = (
    "SELECT late.* FROM unnest(%s::bigint[], %s::bigint[]) AS gap (low, high) CROSS JOIN LATERAL"
    f" (SELECT {_LEAF} FROM strongroom.audit_events AS e"
    " WHERE e.position BETWEEN gap.low AND gap.high ORDER BY e.position LIMIT %s) AS late"
    " ORDER BY late.position LIMIT %s"
)
OLDEST: Final = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
# An id of its own: a snapshot's xmax is one beyond the last that has ended, and transactions
# with that id and later ones may run.
HORIZON: Final = "SELECT pg_current_xact_id()::text::bigint"

GROW: Final = "UPDATE strongroom.log_tree SET size = %s, settled = %s WHERE size = %s"
ADD_LEAVES: Final = (
    "INSERT INTO strongroom.log_leaves (leaf_index, position, occurred_at)"
    " SELECT %s + r.number - 1, r.position, r.occurred_at"
    " FROM unnest(%s::bigint[], %s::timestamptz[])"
    " WITH ORDINALITY AS r (position, occurred_at, number)"
)
WRITE_TILES: Final = (
    "INSERT INTO strongroom.log_tiles (level, tile_index, hashes)"
    " SELECT * FROM unnest(%s::smallint[], %s::bigint[], %s::bytea[])"
    " ON CONFLICT (level, tile_index) DO UPDATE SET hashes = excluded.hashes"
)
KEEP_CHECKPOINT: Final = (
    "INSERT INTO strongroom.log_checkpoints (tree_size, note, created_at) VALUES (%s, %s, %s)"
    " ON CONFLICT DO NOTHING"
)
ANCHORED: Final = "UPDATE strongroom.log_checkpoints SET anchored_at = %s WHERE tree_size = %s"

ENSURE_PARTITIONS: Final = "SELECT strongroom.ensure_audit_partitions()"

EVENT: Final = (
    "SELECT l.leaf_index, e.body FROM strongroom.audit_events AS e"
    " LEFT JOIN strongroom.log_leaves AS l USING (position, occurred_at)"
    " WHERE e.id = :id AND e.tenant = :tenant"
)
WANT: Final = "UPDATE strongroom.log_tree SET wanted = :size WHERE wanted < :size"
UNSEALED_SINCE: Final = "SELECT strongroom.unsealed_since()"

FIRST_LEAF: Final = "SELECT min(leaf_index) FROM strongroom.log_leaves WHERE occurred_at >= %s"
SIZE_AT: Final = "SELECT max(leaf_index) + 1 FROM strongroom.log_leaves WHERE occurred_at < %s"
# By position and time, so that each is looked for in one partition.
LEAVES: Final = (
    "SELECT l.leaf_index, CASE WHEN e.position IS NOT NULL THEN 'tenant'"
    " WHEN a.month IS NOT NULL THEN 'archived' ELSE 'missing' END,"
    " CASE WHEN %s::text IS NULL OR e.tenant = %s THEN e.body END"
    " FROM strongroom.log_leaves AS l"
    " LEFT JOIN strongroom.audit_events AS e USING (position, occurred_at)"
    " LEFT JOIN strongroom.log_archives AS a"
    " ON a.month = date_trunc('month', l.occurred_at AT TIME ZONE 'UTC')::date"
    " AND l.leaf_index BETWEEN a.first_leaf AND a.last_leaf"
    " WHERE l.leaf_index >= %s AND l.leaf_index < %s ORDER BY l.leaf_index LIMIT %s"
)
IS_ARCHIVED: Final = "SELECT EXISTS (SELECT FROM strongroom.log_archives WHERE month = :month)"
# Whoever has the database may put a row at any position and time, an infinite one too, which
# Python has not: the time is passed back as the text that it came as.
_TAIL: Final = (
    "SELECT e.position, e.occurred_at::text, e.body FROM strongroom.audit_events AS e"
    " LEFT JOIN strongroom.log_leaves AS l USING (position, occurred_at)"
    " WHERE {} (l.position IS NULL OR l.leaf_index >= %s) AND (%s::text IS NULL OR e.tenant = %s)"
    " ORDER BY e.position, e.occurred_at LIMIT %s"
)
TAIL: Final = _TAIL.format("")
MORE_TAIL: Final = _TAIL.format("(e.position, e.occurred_at) > (%s, %s::timestamptz) AND")
