"""The composition root's part for the database: who logs in, and who must not."""

from vault_service.adapters.postgres.access import Access, Door, LoginRefused
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
from vault_service.adapters.postgres.failures import DRIVER_ERRORS
from vault_service.adapters.postgres.migrate import upgrade
from vault_service.domain.errors import ConfigurationError, VaultError
from vault_service.settings import Settings


def database_access(settings: Settings, *, guarded: bool = False) -> Access:
    """The service's way to the database; the embedded server must be running for its own.
    ``guarded``: it refuses connections that a service in production must not have."""
    if not settings.embedded:
        return Access(settings.database_url, settings.database_password_from, guarded)
    running = EmbeddedPostgres.attach(settings.home)
    if running is None:
        raise ConfigurationError(
            "no embedded database runs in this STRONGROOM_HOME; start `strongroom dev`, or"
            " set STRONGROOM_DATABASE_URL"
        )
    return Access(running.app_url)


def sealing_access(settings: Settings, access: Access) -> Access:
    """The way to the database of what seals the log and reads it whole: a login of its own
    where one is set, else that of ``access``."""
    if not settings.sealer_database_url:
        return access
    return Access(
        settings.sealer_database_url, settings.sealer_database_password_from, access.guarded
    )


async def refuse_logins(settings: Settings) -> None:
    """Raise :class:`ConfigurationError` where the database lets the service in by a login
    that production must not have, or without TLS. A database that is away is a matter of
    readiness: each connection is looked at again when it is made."""
    access = database_access(settings, guarded=True)
    for each in {access, sealing_access(settings, access)}:
        door = Door(each)
        try:
            await (await door.connect()).close()
        except LoginRefused as error:
            raise ConfigurationError(f"STRONGROOM_ENV=prod refuses: {error}") from None
        except (*DRIVER_ERRORS, VaultError):
            continue
        finally:
            door.close()


def migrate_embedded(server: EmbeddedPostgres) -> None:
    """Bring the embedded database to this release's schema."""
    upgrade(server.migrator_url)
