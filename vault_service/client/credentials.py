"""The credential that a client shows: a fixed text, or a source that makes fresh ones.

Three kinds reach the service as ``Authorization: Bearer …``: an API key (``srk_…``),
an OIDC JWT, and ``sts.`` + base64url of a presigned STS GetCallerIdentity URL (the
EKS token convention), which :func:`sts_token` builds.
"""

import base64
import threading
import time
from collections.abc import Callable
from typing import Any

from vault_service.client.errors import ClientMisconfigured

AUDIENCE_HEADER = "x-strongroom-audience"
_STS_SECONDS = 60


class Credentials:
    """A bearer token, fixed or renewed.

    ``source`` is the token, or a function that returns a fresh one and may block (it
    is called from one thread at a time). What it returned is used again for
    ``lifetime`` seconds, and dropped early when the service refuses it.
    """

    def __init__(
        self,
        source: "str | Callable[[], str]",
        *,
        lifetime: float = _STS_SECONDS / 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._lifetime = lifetime
        self._clock = clock
        self._lock = threading.Lock()
        self._token: str | None = None
        self._fetched_at = 0.0

    @property
    def renewable(self) -> bool:
        """Whether asking again may give another token."""
        return not isinstance(self._source, str)

    def cached(self) -> str | None:
        """The token if it is at hand, without calling the source."""
        if isinstance(self._source, str):
            return self._source
        if self._token is None or self._clock() - self._fetched_at >= self._lifetime:
            return None
        return self._token

    def current(self) -> str:
        """The token to send now. Raises what the source raises, and
        :class:`ClientMisconfigured` where the token cannot be an HTTP header."""
        with self._lock:
            token = self.cached()
            if token is None:
                assert not isinstance(self._source, str)
                token = self._source()
                self._token, self._fetched_at = token, self._clock()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ClientMisconfigured(
                "The credential is empty or holds characters that no token has; set "
                "STRONGROOM_TOKEN (or pass token=…) to the key alone, on one line."
            )
        return token

    def renew(self, refused: str) -> bool:
        """Drop ``refused``; whether :meth:`current` may give another token now."""
        if not self.renewable:
            return False
        with self._lock:
            if self._token == refused:
                self._token = None
        return True

    def __repr__(self) -> str:
        return "Credentials(…)"


def sts_token(audience: str, region: str, *, session: Any = None) -> str:
    """A credential that proves the AWS role this process runs as, good for a minute.

    ``audience`` is the name the vault expects (it is signed as the header
    ``x-strongroom-audience``, so a token made for one vault does not open another);
    ``region`` names the regional STS endpoint. Credentials come from boto's own
    chain, or from a ``session`` of botocore with those of another role. Use it
    through a function, so that it is renewed:
    ``Client(token=lambda: sts_token("strongroom", "eu-west-1"))``. Raises
    :class:`ClientMisconfigured` where botocore or AWS credentials are missing.
    """
    try:
        import botocore.session
        from botocore.signers import RequestSigner
    except ImportError:
        raise ClientMisconfigured(
            "AWS credentials need botocore: pip install 'strongroom[reports]' or botocore."
        ) from None
    session = session or botocore.session.get_session()
    credentials = session.get_credentials()
    if credentials is None:
        raise ClientMisconfigured("boto finds no AWS credentials in its chain.")
    client = session.create_client("sts", region_name=region)
    signer = RequestSigner(
        client.meta.service_model.service_id,
        region,
        "sts",
        "v4",
        credentials,
        session.get_component("event_emitter"),
    )
    url = signer.generate_presigned_url(
        {
            "method": "GET",
            "url": f"{client.meta.endpoint_url}/?Action=GetCallerIdentity&Version=2011-06-15",
            "body": {},
            "headers": {AUDIENCE_HEADER: audience},
            "context": {},
        },
        region_name=region,
        expires_in=_STS_SECONDS,
        operation_name="",
    )
    return "sts." + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
