"""What all tables are made with."""

from sqlalchemy import BigInteger, Column, Integer, MetaData, String

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
    }
)


def serial() -> Column[int]:
    """A number that rises with every row. SQLite counts by itself only in a column of type INTEGER."""
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


def digest() -> Column[str]:
    """Of the canonical JSON: recording the same thing twice records it once."""
    return Column("digest", String(64), nullable=False, unique=True)
