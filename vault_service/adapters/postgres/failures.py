"""Turns the driver's errors into the vault's, without their text.

A PostgreSQL error may quote values (``DETAIL: Key (…)=(…)``), so nothing of it but the
SQLSTATE, the constraint name and its class is ever logged (PCI-DSS 6.2.4, 3.5.1).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import psycopg_pool
import sqlalchemy.exc
import structlog

from vault_service.domain.errors import Code, VaultError

_log = structlog.get_logger("strongroom.database")
_NO_CONNECTION = (
    psycopg_pool.PoolTimeout,
    psycopg_pool.PoolClosed,
    psycopg_pool.TooManyRequests,
)
DRIVER_ERRORS = (psycopg.Error, *_NO_CONNECTION, OSError, TimeoutError)
"""All that psycopg, its pool and the network beneath raise."""
_TIMED_OUT = "57014"
"""The SQLSTATE of a statement that ran out of time, among those of lost connections."""
_AWAY_CLASSES = frozenset({"08", "53", "55", "57", "58", "25", "F0", "XX"})
"""SQLSTATE classes where the database, not the statement, is at fault: connection,
resources (disk full), lock timeouts, operator intervention, I/O, read-only, corruption."""


def sqlstate(error: BaseException) -> str | None:
    """The five-character SQLSTATE of a driver or SQLAlchemy error, if it has one."""
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        error = error.orig
    return error.sqlstate if isinstance(error, psycopg.Error) else None


def is_retryable(error: BaseException) -> bool:
    """Whether the transaction may just be run again (serialization, deadlock)."""
    return sqlstate(error) in {"40001", "40P01"}


def is_lost(error: BaseException) -> bool:
    """Whether the connection, not the statement, failed: a new one may serve. Where no
    connection could be had at all, or time ran out, another try only waits again."""
    state = sqlstate(error)
    return (
        isinstance(error, psycopg.OperationalError)
        and not isinstance(error, _NO_CONNECTION)
        and state != _TIMED_OUT
        and (state is None or state[:2] in ("08", "57"))
    )


def is_away(error: BaseException) -> bool:
    """Whether the database is at fault: resources, locks, intervention, I/O."""
    state = sqlstate(error)
    return state is None or state[:2] in _AWAY_CLASSES or is_retryable(error)


def database_failure(error: BaseException) -> VaultError:
    """The vault's error for a database error; logs its SQLSTATE and nothing more."""
    state = sqlstate(error)
    _log.error("database_error", sqlstate=state, error_class=type(error).__name__)
    lost = isinstance(
        error,
        (*_NO_CONNECTION, sqlalchemy.exc.TimeoutError, OSError, TimeoutError),
    )
    if lost or is_away(error):
        return VaultError(
            Code.DATABASE_UNAVAILABLE,
            "The database cannot be used now; nothing was changed or revealed.",
            retry_after=2,
        )
    return VaultError(Code.INTERNAL, "The database refused a statement; nothing was changed.")


def audit_failure(error: BaseException) -> VaultError:
    """The vault's error where the audit event could not be written."""
    _log.error("audit_write_failed", sqlstate=sqlstate(error), error_class=type(error).__name__)
    return VaultError(
        Code.AUDIT_UNAVAILABLE,
        "The audit event could not be written, so nothing was changed or revealed.",
        retry_after=2,
    )


@contextmanager
def translated() -> Iterator[None]:
    """Lets no driver error out of the block, only the vault's own."""
    try:
        yield
    except (*DRIVER_ERRORS, sqlalchemy.exc.SQLAlchemyError) as error:
        # `from None`: the driver's text must not ride along in a traceback.
        raise database_failure(error) from None
