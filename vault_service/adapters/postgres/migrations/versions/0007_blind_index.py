"""One row a blind index by an exclusion constraint over a hash index.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Where blind indexes, which are random, go into a B-tree, each comes into a page of its own,
# through three others, and a page has room for a hundred. A hash index holds four bytes of
# each: it is less than half as large, and a new row changes one page of it. Only B-trees can
# be unique; of the others, an exclusion constraint promises the same. Nulls are in neither.
_HASHED = """
DROP INDEX strongroom.tokens_blind_index;
ALTER TABLE strongroom.tokens ADD CONSTRAINT tokens_blind_index
    EXCLUDE USING hash (blind_index WITH =);
"""


def upgrade() -> None:
    """Build the index anew: some seconds a million rows, in which nothing is stored."""
    op.execute(_HASHED)


def downgrade() -> None:
    """Put the B-tree back."""
    op.execute(
        "ALTER TABLE strongroom.tokens DROP CONSTRAINT tokens_blind_index;"
        "CREATE UNIQUE INDEX tokens_blind_index ON strongroom.tokens (blind_index)"
        " WHERE blind_index IS NOT NULL"
    )
