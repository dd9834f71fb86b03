"""Functions that run as their owner look for their tables in the schema of the farm, and last of all in the caller's own.

Revision ID: 0020
Revises: 0019
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

FUNCTIONS = ("forget_objects(bigint[], integer[])", "heard(uuid, text)", "tell(uuid, text)")


def upgrade() -> None:
    """A search path that does not name `pg_temp` has it first: a worker's temporary table would be taken for the farm's,

    and its triggers would run with the rights of the owner.
    """
    _look(last=", pg_temp")


def downgrade() -> None:
    """As the release before had it."""
    _look(last="")


def _look(*, last: str) -> None:
    for function in FUNCTIONS:
        op.execute(f"ALTER FUNCTION {function} SET search_path = pg_catalog, public{last}")
