"""The container's health check: asks the service of this host for ``GET /healthz``.

Stands alone on the standard library, so that a check costs little more than the start of
Python: ``python -m vault_service.healthcheck [PORT]``. Exits 0 when the service answers
200, else 1.
"""

import http.client
import sys
from typing import Final

DEFAULT_PORT: Final = 8200
_TIMEOUT_SECONDS: Final = 2.0


def healthy(port: int) -> bool:
    """Whether the service on this port of 127.0.0.1 says that it lives."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_PORT
    sys.exit(0 if healthy(port) else 1)
