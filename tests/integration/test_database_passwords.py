"""Where passwords of database logins come from: files, Secrets Manager, tokens of RDS."""

import json
import os
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from moto.server import ThreadedMotoServer

from tests.conftest import DatabaseUrls
from tests.fakes.scripted_server import DROP, Reply, ScriptedServer
from tests.secured import Authority
from vault_service.adapters.postgres.access import Access, Door, LoginRefused
from vault_service.adapters.postgres.passwords import (
    IamToken,
    Password,
    PasswordFile,
    Recent,
    SecretsManagerPassword,
    password_source,
)
from vault_service.domain.errors import Code, ConfigurationError, VaultError

_REGION: Final = "eu-west-1"
_ENCRYPTION_REQUEST: Final = 80877103


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", _REGION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """boto3's client of a Secrets Manager, to which this process is pointed."""
    from boto3.session import Session

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    client = Session().client("secretsmanager", region_name=_REGION)
    yield client
    client.close()
    server.stop()


async def unavailable(source: Any) -> None:
    with pytest.raises(VaultError) as error:
        await source.read()
    assert error.value.code is Code.DATABASE_UNAVAILABLE
    assert "secret" not in error.value.detail, "callers learn nothing of how we log in"


@pytest.mark.parametrize("reference", ["", "word", "env:X", "arn:aws:kms:eu-west-1:1:key/2"])
def test_a_reference_that_names_no_place(reference: str) -> None:
    with pytest.raises(ConfigurationError, match="file:/path"):
        password_source(reference, host="db", port=None, login="app")


async def test_a_file_is_read_each_time(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.touch(mode=0o600)
    path.write_text("one word\n")
    # As Kubernetes mounts secrets: a link to what is exchanged as a whole.
    link = tmp_path / "link"
    link.symlink_to(path)
    source = PasswordFile(link)
    assert await source.read() == Password("one word")
    path.write_text("another")
    assert (await source.read()).text == "another"
    assert "another" not in repr(await source.read())


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o620, 0o602])
async def test_a_file_that_others_can_use_is_not_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "password"
    path.write_text("word")
    path.chmod(mode)
    await unavailable(PasswordFile(path))


async def test_files_that_hold_no_password(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.touch(mode=0o400)
    binary.chmod(0o600)
    binary.write_bytes(b"\xff\xfe")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path in (tmp_path / "none", tmp_path, pipe, binary):
        await unavailable(PasswordFile(path))


async def test_a_secret_is_read_and_its_rotation_seen(secrets: Any) -> None:
    arn = secrets.create_secret(Name="plain", SecretString="first")["ARN"]
    source = Recent(SecretsManagerPassword(arn), seconds=0)
    assert await source.read() == Password("first")
    secrets.put_secret_value(SecretId=arn, SecretString="second")
    assert await source.read() == Password("second")
    # As RDS rotates between two logins.
    secrets.put_secret_value(
        SecretId=arn,
        SecretString=json.dumps({"engine": "postgres", "username": "app_clone", "password": "3"}),
    )
    assert await source.read() == Password("3", "app_clone")
    source.close()


async def test_one_answer_serves_connections_that_are_made_together(secrets: Any) -> None:
    arn = secrets.create_secret(Name="recent", SecretString="first")["ARN"]
    source = Recent(SecretsManagerPassword(arn), seconds=600)
    assert (await source.read()).text == "first"
    secrets.put_secret_value(SecretId=arn, SecretString="second")
    assert (await source.read()).text == "first"
    source.close()


async def test_secrets_that_cannot_be_had(secrets: Any) -> None:
    arn = secrets.create_secret(Name="odd", SecretString='{"username": "x"}')["ARN"]
    for reference in (arn, arn.replace("odd", "none")):
        source = SecretsManagerPassword(reference)
        await unavailable(source)
        source.close()


async def test_a_secrets_manager_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was last known is tried: whether it still holds is for the database to say."""
    answers = iter(["word", None])

    def answer(_seen: object) -> Reply:
        word = next(answers, None)
        return DROP if word is None else Reply(json={"SecretString": word})

    with ScriptedServer(answer) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", server.url)
        arn = f"arn:aws:secretsmanager:{_REGION}:123456789012:secret:app"
        source = Recent(SecretsManagerPassword(arn), seconds=0)
        assert (await source.read()).text == "word"
        assert (await source.read()).text == "word"
        source.close()
        never = Recent(SecretsManagerPassword(arn))
        await unavailable(never)
        never.close()


async def test_a_token_is_for_this_login_at_this_server() -> None:
    source = IamToken("db.example", 5433, "strongroom_app")
    token = (await source.read()).text
    source.close()
    url = urlsplit("https://" + token)
    asked = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert (url.hostname, url.port) == ("db.example", 5433)
    assert (asked["Action"], asked["DBUser"]) == ("connect", "strongroom_app")
    assert asked["X-Amz-Expires"] == "900"
    assert f"/{_REGION}/rds-db/" in asked["X-Amz-Credential"]


async def test_the_token_is_what_the_server_gets(authority: Authority) -> None:
    """A server that speaks the protocol as far as the password, over TLS."""
    shown: list[tuple[str, str]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        serving = threading.Thread(target=_take_password, args=(listener, authority, shown))
        serving.start()
        door = Door(
            Access(
                f"postgresql://strongroom_app@127.0.0.1:{port}/vault?sslmode=verify-full"
                f"&sslrootcert={authority.path}",
                "iam",
            )
        )
        with pytest.raises(psycopg.OperationalError):
            await door.connect()
        serving.join()
        door.close()
    [(login, token)] = shown
    assert login == "strongroom_app"
    assert token.startswith(f"127.0.0.1:{port}/?Action=connect&DBUser=strongroom_app&")
    assert "testing" not in repr(door)


def _take_password(
    listener: socket.socket, authority: Authority, shown: list[tuple[str, str]]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("token"))
    plain, _ = listener.accept()
    with plain:
        length, code = struct.unpack("!ii", plain.recv(8))
        assert (length, code) == (8, _ENCRYPTION_REQUEST)
        plain.sendall(b"S")
        with context.wrap_socket(plain, server_side=True) as connection:
            startup = connection.recv(65536)
            parts = startup[8:].split(b"\0")
            login = parts[parts.index(b"user") + 1].decode()
            connection.sendall(b"R" + struct.pack("!ii", 8, 3))
            message = connection.recv(65536)
            shown.append((login, message[5:].rstrip(b"\0").decode()))
            told = b"SFATAL\0C28P01\0Mno\0\0"
            connection.sendall(b"E" + struct.pack("!i", len(told) + 4) + told)


async def test_a_guarded_door_refuses_what_is_not_encrypted(empty_database: DatabaseUrls) -> None:
    """PCI-DSS 4.2.1, whatever the URL says."""
    door = Door(Access(empty_database.app_url, guarded=True))
    with pytest.raises(LoginRefused, match="not encrypted"):
        await door.connect()
    door.close()
    async with await Door(Access(empty_database.app_url)).connect() as connection:
        assert not connection.closed
