"""The container's health check: asks the service of this host for ``GET /healthz``.

``python -m vault_service.healthcheck [PORT]``, the settings being those of the service. Needs
none of its libraries, so that a check costs little more than the start of Python. Exits 0
when the service answers 200, else 1.
"""

import http.client
import ssl
import sys
from typing import Final

from vault_service.domain.errors import ConfigurationError
from vault_service.settings import load

ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # nosec B104
"""Where to ask a service that listens on every address."""
_TIMEOUT_SECONDS: Final = 2.0


def healthy(
    port: int,
    host: str = "127.0.0.1",
    path: str = "/healthz",
    *,
    encrypted: bool = False,
    seconds: float = _TIMEOUT_SECONDS,
) -> bool:
    """Whether the service on this port answers 200 there, within ``seconds``."""
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    if encrypted:
        connection = http.client.HTTPSConnection(host, port, timeout=seconds, context=_unverified())
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _unverified() -> ssl.SSLContext:
    """Nothing is sent that could be overheard, and the certificate is for another name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def main() -> int:
    """The exit code."""
    try:
        settings = load()
    except ConfigurationError:
        return 1
    port = int(sys.argv[1]) if len(sys.argv) > 1 else settings.port
    host = ANYWHERE.get(settings.host, settings.host)
    return 0 if healthy(port, host, encrypted=settings.tls_certificate is not None) else 1


if __name__ == "__main__":
    sys.exit(main())
