"""The client: tokenize and detokenize from Python, with what a network needs.

    with Client() as vault:                    # STRONGROOM_URL, STRONGROOM_TOKEN
        tokens = vault.tokenize("pan", ["4111 1111 1111 1111"])

Map of the package, which stands on ``vault_service.domain`` alone:

- ``sync``, ``asynchronous``: the two clients, with the same methods.
- ``calls``: arguments into requests, answers into results; ``batching`` cuts them.
- ``operations``: the routes, as steps without I/O; ``exchange``: one request and its
  retries; ``transport``: drives steps blocking or with asyncio.
- ``endpoint``: where the vault is; reads the settings.
- ``credentials``: fixed and renewed credentials, AWS role tokens.
- ``results``, ``errors``: what comes back, and what is raised.
- ``arrow``: whole columns as Arrow streams; ``arrow_streams``: the bodies.
- ``reports``: reports, for people; ``report_lease``: a run, or a part, in the hands of its
  job; ``report_run``: the vault as that job may read it;
  ``report_operations``: their routes, ``report_results``: their answers.
- ``files``: a file through the vault; ``file_columns``: one column of one batch;
  ``file_checks``: what is known before; ``mapping``: which columns; ``rejects``: what
  was left out; ``tables`` (with ``table_rows`` and one module a format): csv, ndjson
  and parquet as streams of rows.

Importing it loads httpx2 and msgspec; pyarrow comes only with ``arrow`` and ``files``.
"""

from vault_service.client.asynchronous import AsyncClient
from vault_service.client.credentials import Credentials, sts_token
from vault_service.client.errors import (
    BatchError,
    ClientClosed,
    ClientMisconfigured,
    ItemFailure,
    RequestRefused,
    StrongroomError,
    UnexpectedAnswer,
    Unreachable,
)
from vault_service.client.exchange import Retry
from vault_service.client.results import (
    BatchResult,
    DetokenizedItem,
    DetokenizeItem,
    TokenizedItem,
    TokenizeItem,
)
from vault_service.client.sync import Client
from vault_service.domain.errors import Code

__all__ = [
    "AsyncClient",
    "BatchError",
    "BatchResult",
    "Client",
    "ClientClosed",
    "ClientMisconfigured",
    "Code",
    "Credentials",
    "DetokenizeItem",
    "DetokenizedItem",
    "ItemFailure",
    "RequestRefused",
    "Retry",
    "StrongroomError",
    "TokenizeItem",
    "TokenizedItem",
    "UnexpectedAnswer",
    "Unreachable",
    "sts_token",
]
