"""What a database's errors mean to the ledger. Errors that mean a bug in us are let through as they are."""

import sqlite3

from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from gateway.ledger import LedgerError, LedgerUnavailable

_LOST = "the connection to the database is lost"
# https://www.sqlite.org/rescode.html: the low byte of an extended result code is the primary code.
_SQLITE_TRY_AGAIN = {
    sqlite3.SQLITE_BUSY: "another process holds the database",
    sqlite3.SQLITE_LOCKED: "another process holds the database",
    sqlite3.SQLITE_PROTOCOL: "another process holds the database",
    sqlite3.SQLITE_FULL: "there is no space left for the database",
    sqlite3.SQLITE_IOERR: "the disk under the database fails",
    sqlite3.SQLITE_CANTOPEN: "the database cannot be opened",
    sqlite3.SQLITE_READONLY: "the database cannot be written",
    sqlite3.SQLITE_NOMEM: "there is no memory left for the database",
    sqlite3.SQLITE_INTERRUPT: "the database was interrupted",
}
_SQLITE_UNUSABLE = {
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database",
    sqlite3.SQLITE_CORRUPT: "the database is damaged; restore it from a backup",
    sqlite3.SQLITE_PERM: "the database may not be opened",
}
# https://www.postgresql.org/docs/current/errcodes-appendix.html, by class (the first two characters) or whole.
_POSTGRES_TRY_AGAIN = {
    "08": _LOST,
    "25006": "the database cannot be written",
    "40": "the database asks to try again",
    "53": "the database has run out of space, memory or connections",
    "55": "another process holds the database",
    "57": "the database is stopping, starting or cancelled the work",
    "58": "the disk under the database fails",
}
_POSTGRES_UNUSABLE = {
    "28": "the database does not let us in",
    "3D": "there is no such database",
}


def as_ledger_error(cause: Exception) -> Exception | None:
    """The error to raise from ``cause``; ``None`` where ``cause`` should go on as it is.

    ``LedgerUnavailable`` for what may pass, ``LedgerError`` for what a person must mend, and ``ValueError`` for a value
    that a column cannot hold (found while binding, before anything was written).
    """
    if isinstance(cause, PoolTimeout):
        return LedgerUnavailable("all connections to the database are busy")
    if isinstance(cause, OSError):
        # asyncpg reports a refused or lost connection, and a time-out, in Python's own terms.
        return LedgerUnavailable(f"{_LOST} ({cause})")
    orig = cause.orig if isinstance(cause, StatementError) else cause
    if isinstance(orig, sqlite3.Error):
        return _from_sqlite(orig)
    if isinstance(orig, ValueError) and not isinstance(cause, DBAPIError):
        return ValueError(str(orig)) if orig is not cause else None
    return _from_postgres(orig, lost=isinstance(cause, DBAPIError) and cause.connection_invalidated)


def _from_sqlite(error: sqlite3.Error) -> LedgerError | None:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _SQLITE_TRY_AGAIN:
        return LedgerUnavailable(f"{_SQLITE_TRY_AGAIN[code]} ({error})")
    if code in _SQLITE_UNUSABLE:
        return LedgerError(f"{_SQLITE_UNUSABLE[code]} ({error})")
    return None


def _from_postgres(error: object, *, lost: bool) -> LedgerError | None:
    sqlstate = getattr(error, "sqlstate", None) or ""
    passing = _POSTGRES_TRY_AGAIN.get(sqlstate) or _POSTGRES_TRY_AGAIN.get(sqlstate[:2])
    if passing or lost:
        return LedgerUnavailable(f"{passing or _LOST} ({error})")
    if sqlstate[:2] in _POSTGRES_UNUSABLE:
        return LedgerError(f"{_POSTGRES_UNUSABLE[sqlstate[:2]]} ({error})")
    return None
