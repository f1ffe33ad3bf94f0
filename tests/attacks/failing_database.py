"""Sends canaries to a service while its database refuses, breaks or is gone; gives back what
it answered."""

import os
import signal
import threading

import httpx2

from tests.attacks.canaries import PURPOSE, batch, item, pan, spaced, word
from tests.serving import Server
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres


def database_errors(server: Server) -> list[httpx2.Response]:
    """What the database refuses, and what nobody foresaw."""
    tester = server.caller("load-tester")
    answers = []

    def post(data_class: str, value: str) -> None:
        body = batch(item(data_class=data_class, value=value, subject="cus_9"))
        answers.append(tester.post("/v1/tokenize", body))
        asked = {"data_class": data_class, "value": value}
        answers.append(tester.post("/v1/lookup", asked))

    for table in ("tokens", "audit_events"):
        server.query(
            "CREATE FUNCTION strongroom.fail() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN RAISE EXCEPTION ''no: %'', NEW; END';"
            f" CREATE TRIGGER fail BEFORE INSERT ON strongroom.{table}"
            " FOR EACH ROW EXECUTE FUNCTION strongroom.fail()"
        )
        post("pan", pan())
        post("person_name", word())
        server.query(f"DROP TRIGGER fail ON strongroom.{table}; DROP FUNCTION strongroom.fail()")
    server.query("ALTER TABLE strongroom.tokens RENAME COLUMN ciphertext TO elsewhere")
    post("pan", spaced())
    post("free_text", f"{word()} {pan()}")
    server.query("ALTER TABLE strongroom.tokens RENAME COLUMN elsewhere TO ciphertext")
    value = pan()
    [token] = tester.tokenize("pan", [value])
    server.query("ALTER TABLE strongroom.tokens ALTER COLUMN expires_at TYPE text")
    server.query("UPDATE strongroom.tokens SET expires_at = 'soon' WHERE token = %s", token)
    _hang_up(server)
    answers.append(tester.post("/v1/lookup", {"data_class": "pan", "value": value}))
    answers.append(tester.post("/v1/detokenize", batch({"token": token}, purpose=PURPOSE)))
    server.query("UPDATE strongroom.tokens SET expires_at = NULL WHERE token = %s", token)
    server.query(
        "ALTER TABLE strongroom.tokens"
        " ALTER COLUMN expires_at TYPE timestamptz USING expires_at::timestamptz"
    )
    _hang_up(server)
    post("pan", pan())
    assert {500, 503} <= {answer.status_code for answer in answers}
    assert b"unexpected_error" in server.stderr.read_bytes()
    return answers


def _hang_up(server: Server) -> None:
    """Close the service's connections under its hands."""
    server.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE usename <> current_user AND datname = current_database()"
    )


def database_gone(cluster: EmbeddedPostgres, server: Server) -> list[httpx2.Response]:
    """Requests while there is no database, cut off in the middle of their work."""
    pid = int((cluster.home / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
    tester = server.caller("load-tester")
    answers: list[httpx2.Response] = []

    def ask() -> None:
        caller = server.caller("load-tester")
        bodies = [batch(*[item(value=pan())] * 20) for _ in range(20)]
        answers.extend(caller.post("/v1/tokenize", body) for body in bodies)

    server.key("load-tester")
    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    os.kill(pid, signal.SIGQUIT)
    for thread in asking:
        thread.join()
    bodies = (batch(item(value=pan())), batch({"token": pan()}, purpose=PURPOSE))
    for path, body in zip(("/v1/tokenize", "/v1/detokenize"), bodies, strict=True):
        answers.append(tester.post(path, body))
    answers.append(tester.post("/v1/lookup", {"data_class": "pan", "value": pan()}))
    assert 503 in {answer.status_code for answer in answers}
    cluster.ensure_running()
    return answers
