"""Where the blocking client connects to, with which credential, and what it takes along."""

import subprocess
import sys

import pytest

from tests.fakes.scripted_server import ScriptedServer, problem
from tests.fakes.vault_over_http import MemoryVault
from vault_service.client import (
    Client,
    ClientMisconfigured,
    Credentials,
    RequestRefused,
    Retry,
    Unreachable,
)

KEY = "srk_not_a_real_key"
FAST = Retry(first=0.001, longest=0.002, deadline=10.0)


@pytest.mark.parametrize(
    "url",
    [
        "http://vault.example:8200",
        "http://10.0.0.1",
        "http://127.0.0.1.evil.example",
        "https://user:pass@vault.example",
        "https://vault.example/?x=1",
        "ftp://vault.example",
        "vault.example",
        "",
        "https://",
        "http://[::1",
    ],
)
def test_unsafe_addresses_are_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # PCI-DSS 4.2.1
    monkeypatch.delenv("STRONGROOM_URL", raising=False)
    with pytest.raises(ClientMisconfigured) as caught:
        Client(url, KEY)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://vault.example", "http://localhost:1", "http://127.1.2.3:1", "http://[::1]:1"]
)
def test_safe_addresses_are_taken(url: str) -> None:
    Client(url, KEY).close()


def test_http_elsewhere_needs_a_word() -> None:
    Client("http://vault.example", KEY, allow_insecure=True).close()


def test_address_and_credential_come_from_the_environment(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRONGROOM_URL", server.url + "/")
    monkeypatch.setenv("STRONGROOM_TOKEN", "srk_from_environment\n")
    with Client() as vault:
        vault.whoami()
    assert server.seen[0].path == "/v1/whoami"
    assert server.seen[0].headers["authorization"] == "Bearer srk_from_environment"
    monkeypatch.delenv("STRONGROOM_TOKEN")
    with pytest.raises(ClientMisconfigured, match="STRONGROOM_TOKEN"):
        Client()


def test_no_proxy_sees_a_request_in_clear(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(MemoryVault()) as proxy, monkeypatch.context() as patch:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            patch.setenv(name, proxy.url)
        patch.delenv("no_proxy", raising=False)
        patch.delenv("NO_PROXY", raising=False)
        with Client(server.url, KEY) as vault:
            vault.whoami()
        assert proxy.seen == []


def test_a_refused_credential_is_renewed_once(server: ScriptedServer) -> None:
    tokens = iter(["srk_old", "srk_new", "srk_newer"])
    server.faults.append(problem(401, "credential_expired"))
    with Client(server.url, Credentials(lambda: next(tokens))) as vault:
        vault.whoami()
        vault.whoami()
    sent = [seen.headers["authorization"] for seen in server.seen]
    assert sent == ["Bearer srk_old", "Bearer srk_new", "Bearer srk_new"]


def test_a_fixed_credential_is_not_tried_twice(server: ScriptedServer) -> None:
    server.faults.append(problem(401, "unauthenticated"))
    with Client(server.url, KEY) as vault, pytest.raises(RequestRefused, match="unauthenticated"):
        vault.whoami()
    assert len(server.seen) == 1


def test_nobody_there() -> None:
    with ScriptedServer(MemoryVault()) as gone:
        url = gone.url
    with Client(url, KEY, retry=FAST) as vault, pytest.raises(Unreachable) as caught:
        vault.whoami()
    assert caught.value.attempts == FAST.attempts
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_importing_the_client_stays_light() -> None:
    code = (
        "import sys, vault_service.client; heavy = {'fastapi', 'starlette', 'sqlalchemy', "
        "'psycopg', 'boto3', 'botocore', 'cedarpy', 'pyarrow', 'aws_encryption_sdk', 'typer', "
        "'rich'}; found = sorted(heavy & set(sys.modules)); print(found); sys.exit(bool(found))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
