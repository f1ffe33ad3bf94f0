"""``strongroom dev``, ``serve`` and ``db``."""

import sys
from typing import Annotated

import typer

db = typer.Typer(no_args_is_help=True, help="The database schema.")


def dev(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8200,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Server processes.")] = 1,
) -> None:
    """Run the service on the embedded database and a local root key, for development."""
    from vault_service.adapters.postgres.embedded import EmbeddedPostgres, HomeInUse
    from vault_service.bootstrap import migrate_embedded
    from vault_service.settings import load

    settings = load()
    if settings.environment == "prod":
        raise typer.BadParameter("dev is for development; use `strongroom serve` in prod")
    try:
        server = EmbeddedPostgres.own(settings.home, bindir=settings.pg_bindir)
    except HomeInUse as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    with server:
        migrate_embedded(server)
        _run("127.0.0.1", port, workers)


def serve() -> None:
    """Run the service on the settings of the environment, with STRONGROOM_WORKERS
    processes."""
    from vault_service.bootstrap import database_url
    from vault_service.settings import load

    settings = load()
    database_url(settings)
    _run(
        settings.host,
        settings.port,
        settings.workers,
        certificate=settings.tls_certificate,
        key=settings.tls_key,
        proxies=settings.trusted_proxies,
    )


def _run(
    host: str,
    port: int,
    workers: int,
    *,
    certificate: object = None,
    key: object = None,
    proxies: str = "",
) -> None:
    import uvicorn

    print(f"Strongroom listens on http://{host}:{port}", file=sys.stderr)
    uvicorn.run(
        "vault_service.asgi:create",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http="httptools",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies or None,
        ssl_certfile=None if certificate is None else str(certificate),
        ssl_keyfile=None if key is None else str(key),
        timeout_graceful_shutdown=30,
        log_config=None,
    )
