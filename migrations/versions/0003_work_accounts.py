"""What was kept back from each job, so that no promise to it is forgotten with a gateway."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "work_account",
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_work_account")),
    )


def downgrade() -> None:
    op.drop_table("work_account")
