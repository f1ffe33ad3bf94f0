"""Where the vault is, and the credential for it.

This is the one place where the client reads the environment (``STRONGROOM_URL``,
``STRONGROOM_TOKEN``): it cannot use ``settings.py``, which belongs to the service.
"""

import ipaddress
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import httpx2

from vault_service.client.credentials import Credentials
from vault_service.client.errors import ClientMisconfigured


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The vault's address, the credential for it, and how the way there is secured."""

    url: str
    credentials: Credentials
    timeout: float = 30.0
    tls: ssl.SSLContext | bool = True

    @property
    def behind_proxy(self) -> bool:
        """Proxies named by the environment are for https alone: over http one would
        see the credential."""
        return self.url.startswith("https://")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def endpoint(
    url: str | None,
    token: "str | Callable[[], str] | Credentials | None",
    *,
    timeout: float,
    tls: ssl.SSLContext | None = None,
    allow_insecure: bool = False,
) -> Endpoint:
    """The endpoint for these arguments, with the environment for what is ``None``.

    Raises :class:`ClientMisconfigured` for a missing or unusable address, for a
    missing token, and for ``http://`` to another machine unless ``allow_insecure``.
    """
    address = (url or os.environ.get("STRONGROOM_URL", "")).strip()
    credential = token or os.environ.get("STRONGROOM_TOKEN", "").strip()
    if not address:
        raise ClientMisconfigured(
            "No vault address: set STRONGROOM_URL or pass url=… (`strongroom dev` prints its own)."
        )
    if not credential:
        raise ClientMisconfigured(
            "No credential: set STRONGROOM_TOKEN or pass token=… "
            "(`strongroom principal issue-key NAME` prints a key)."
        )
    try:
        parsed = httpx2.URL(address)
    except httpx2.InvalidURL:
        parsed = httpx2.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise ClientMisconfigured(
            "The vault address must look like https://vault.example:8200, without a user name."
        )
    if parsed.query or parsed.fragment:
        raise ClientMisconfigured("The vault address must have no query and no fragment.")
    # PCI-DSS 4.2.1: values and credentials travel encrypted over any network.
    if parsed.scheme == "http" and not allow_insecure and not _is_loopback(parsed.host):
        raise ClientMisconfigured(
            "The vault address is http:// on another machine, where values would travel in "
            "clear; use https://, or pass allow_insecure=True on a network you trust."
        )
    credentials = credential if isinstance(credential, Credentials) else Credentials(credential)
    return Endpoint(address.rstrip("/"), credentials, timeout, True if tls is None else tls)
