"""The host of the database: an embedded PostgreSQL, a program in the host's namespace.

It prints the URLs of the service's login and of the one that migrates, with the port of its own
loopback, and ends with its standard input.
"""

import json
import sys
from pathlib import Path

from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
from vault_service.adapters.postgres.migrate import upgrade

if __name__ == "__main__":
    with EmbeddedPostgres.own(Path(sys.argv[1]), shared_buffers="64MB") as server:
        upgrade(server.migrator_url)
        sys.stdout.write(json.dumps({"app": server.app_url}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
