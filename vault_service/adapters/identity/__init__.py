"""Who vouches for a caller, other than the vault's own API keys.

- ``oidc``: JSON Web Tokens of one issuer, verified with its published keys
- ``aws_sts``: presigned ``sts:GetCallerIdentity`` requests, confirmed by AWS
- ``fetching``: the one bounded HTTP GET that both use

Each meets a port of ``domain/credentials``. API keys need no adapter here: their format
is in ``domain/credentials``, their table in ``adapters/postgres/credentials``.
"""
