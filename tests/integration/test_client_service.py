"""The client and the file commands against the real service."""

import csv
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from mimesis import Generic, Locale
from typer.testing import CliRunner

from tests.serving import Serve, Server
from vault_service.cli.app import app
from vault_service.client import (
    AsyncClient,
    BatchError,
    Client,
    Code,
    RequestRefused,
    Retry,
    TokenizeItem,
)
from vault_service.client.arrow import detokenize_column, tokenize_column
from vault_service.client.file_checks import check_file
from vault_service.client.files import detokenize_file, tokenize_file
from vault_service.client.mapping import mapping_of

PURPOSE = "data_quality"
CARDS = mapping_of(["cardnumber=pan_unverified"])
# Published test numbers of the card schemes.
TEST_CARDS = ["4111111111111111", "5500005555555559", "340000000000009", "30000000000004"]


@pytest.fixture
def tester(server: Server) -> Iterator[Client]:
    """Who may tokenize and reveal everything, in test environments."""
    with Client(server.url, server.key("load-tester")) as client:
        yield client


def _client(server: Server, principal: str) -> Client:
    return Client(server.url, server.key(principal))


def _stored(server: Server) -> int:
    return int(server.query("SELECT count(*) FROM strongroom.tokens")[0][0])


def _card_file(path: Path, count: int) -> Path:
    fake = Generic(Locale.EN, seed=11)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "cardtype", "cardnumber"])
        for number in range(count):
            middle = fake.random.randint(0, 99_999_999)
            writer.writerow([number, "Vista", f"1111{middle:08d}{number % 100:02d}"])
    return path


def test_there_and_back(tester: Client) -> None:
    tokens = tester.tokenize(
        "pan", ["4111 1111 1111 1111", *TEST_CARDS[1:]], references=list("abcd")
    )
    assert tester.detokenize(tokens, purpose=PURPOSE, form="plain") == TEST_CARDS
    assert tester.detokenize(tokens, purpose=PURPOSE)[0] == "411111******1111"
    assert tester.lookup("pan", TEST_CARDS[0]) == tokens[0]
    assert tester.lookup("pan", "4242424242424242") is None


def test_large_calls_keep_their_order(tester: Client) -> None:
    values = [f"order-{number}@example.com" for number in range(3500)]
    tokens = tester.tokenize("email", values)
    assert len(set(tokens)) == 3500
    assert tester.detokenize(tokens[::-1], purpose=PURPOSE, form="plain") == values[::-1]


async def test_the_same_with_asyncio(server: Server) -> None:
    async with AsyncClient(server.url, server.key("load-tester")) as vault:
        values = [f"async-{number}@example.com" for number in range(2500)]
        tokens = await vault.tokenize("email", values)
        assert await vault.detokenize(tokens, purpose=PURPOSE, form="plain") == values
        assert (await vault.whoami()).principal == "load-tester"


def test_failed_items_say_why_and_the_rest_is_done(tester: Client) -> None:
    with pytest.raises(BatchError) as caught:
        tester.tokenize("pan", [TEST_CARDS[0], "4111111111111112"])
    assert [(f.index, f.code) for f in caught.value.failures] == [(1, Code.INVALID_VALUE)]
    assert caught.value.results[0] is not None
    assert "4111111111111112" not in str(caught.value)
    with pytest.raises(BatchError, match="invalid_value"):
        tester.tokenize("pan", ["4111111111111112"])
    result = tester.tokenize_items(
        [TokenizeItem("pan", TEST_CARDS[0]), TokenizeItem("pan", "4111111111111112")],
        mode="atomic",
    )
    assert result.ok == 0


def test_one_key_stores_once(tester: Client) -> None:
    notes = [f"note {number}" for number in range(1200)]
    first = tester.tokenize("free_text", notes, idempotency_key="load-of-notes")
    assert tester.tokenize("free_text", notes, idempotency_key="load-of-notes") == first
    assert set(tester.tokenize("free_text", notes)).isdisjoint(first)
    with pytest.raises(RequestRefused) as caught:
        tester.tokenize("free_text", ["another"], idempotency_key="load-of-notes")
    assert (caught.value.code, caught.value.status) == (Code.IDEMPOTENCY_CONFLICT, 422)


def test_what_the_vault_tells_about_itself(server: Server, tester: Client) -> None:
    assert "masked" in tester.catalog().data_classes["pan"].forms
    assert tester.whoami().tenant == "main"
    allowed = tester.explain("detokenize", "pan", purpose=PURPOSE, form="plain")
    assert (allowed.allowed, allowed.form) == (True, "plain")
    token = tester.tokenize("email", ["told@example.com"], subjects=["cus_9"])[0]
    described = tester.describe(token)
    assert (described.data_class, described.subject) == ("email", "cus_9")
    with _client(server, "warehouse-loader") as loader:
        assert not loader.explain("detokenize", "pan", purpose=PURPOSE, form="plain").allowed


def test_refusals_name_code_and_request(server: Server, tester: Client) -> None:
    token = tester.tokenize("pan", [TEST_CARDS[0]])[0]
    with _client(server, "warehouse-loader") as loader, pytest.raises(BatchError) as denied:
        loader.detokenize([token], purpose=PURPOSE, form="plain")
    assert denied.value.code == Code.ACCESS_DENIED
    with _client(server, "auditor") as auditor:
        events = auditor.audit_events(principal="warehouse-loader", action="detokenize")
        assert next(events)["request_id"] == denied.value.request_ids[0]
    with Client(server.url, "srk_unknown") as nobody, pytest.raises(RequestRefused) as unknown:
        nobody.whoami()
    assert unknown.value.code == Code.UNAUTHENTICATED
    with pytest.raises(RequestRefused) as missing:
        tester.describe("tok_pan_00000000000000000000000000")
    assert missing.value.code == Code.NOT_FOUND
    with pytest.raises(RequestRefused):
        tester.detokenize([token], purpose="curiosity")


def test_the_audit_log_pages_on(server: Server, tester: Client) -> None:
    for number in range(7):
        tester.tokenize("email", [f"page-{number}@example.com"], subjects=["cus_paged"])
    with _client(server, "auditor") as auditor:
        found = list(auditor.audit_events(subject="cus_paged", limit=3))
    assert len(found) == 7
    assert len({event["id"] for event in found}) == 7


def test_columns_travel_as_arrow(tester: Client) -> None:
    values = pa.chunked_array([[*TEST_CARDS, None], ["4111 1111 1111 1111"]], pa.string())
    tokens = tokenize_column(tester, "pan", values, tags={"region": "eu"}, batch_rows=3)
    assert tokens.to_pylist()[0] == tester.lookup("pan", TEST_CARDS[0]) == tokens[5].as_py()
    plain = detokenize_column(tester, tokens, purpose=PURPOSE, form="plain")
    assert plain.to_pylist() == [*TEST_CARDS, None, TEST_CARDS[0]]
    with pytest.raises(BatchError) as caught:
        tokenize_column(tester, "pan", pa.array([None, "4111111111111112", TEST_CARDS[0]]))
    assert [(f.index, f.code) for f in caught.value.failures] == [(1, "invalid_value")]
    with pytest.raises(BatchError, match="invalid_value"):
        tokenize_column(tester, "pan", pa.array(["4111111111111112"]))


@pytest.mark.parametrize("suffix", ["parquet", "ndjson", "csv"])
def test_a_file_there_and_back_and_there_again(
    server: Server, tester: Client, tmp_path: Path, suffix: str
) -> None:
    source = _card_file(tmp_path / "cards.csv", 4321)
    first, again = tmp_path / f"first.{suffix}", tmp_path / f"again.{suffix}"
    summary = tokenize_file(tester, source, CARDS, first)
    assert (summary.rows, summary.rejected) == (4321, 0)
    stored = _stored(server)
    assert tokenize_file(tester, source, CARDS, again).distinct == summary.distinct
    assert _stored(server) == stored
    assert first.read_bytes() == again.read_bytes()
    back = tmp_path / "back.csv"
    detokenize_file(tester, first, CARDS.with_form("plain"), back, purpose=PURPOSE)
    assert back.read_bytes() == source.read_bytes()


def test_names_in_broken_encodings_survive(tester: Client, tmp_path: Path) -> None:
    source = tmp_path / "names.csv"
    source.write_text("name\nSÃ¡nchez\nÅke\nO'Brien-Núñez\nDvořák\n李小龍\n", "utf-8")
    names = mapping_of(["name=person_name"])
    tokenize_file(tester, source, names, tmp_path / "t.parquet")
    back = tmp_path / "back.csv"
    detokenize_file(tester, tmp_path / "t.parquet", names.with_form("plain"), back, purpose=PURPOSE)
    assert back.read_bytes() == source.read_bytes()


def test_random_tokens_too_are_the_same_in_a_repeated_run(
    server: Server, tester: Client, tmp_path: Path
) -> None:
    source = tmp_path / "notes.csv"
    source.write_text("note\n" + "".join(f"note number {n}\n" for n in range(2200)))
    notes = mapping_of(["note=free_text"])
    tokenize_file(tester, source, notes, tmp_path / "one.csv")
    stored = _stored(server)
    tokenize_file(tester, source, notes, tmp_path / "two.csv")
    assert _stored(server) == stored
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_refused_rows_are_listed_and_left_out(tester: Client, tmp_path: Path) -> None:
    source = tmp_path / "mixed.csv"
    source.write_text(
        "who,cardnumber\ncus_1,4111111111111111\n4111111111111111,5500005555555559\n"
        "cus_3,not a card\ncus_4,\ncus_5,340000000000009\n"
    )
    (tmp_path / "map.yml").write_text("columns: {cardnumber: {data_class: pan}}\nsubject: who\n")
    mapping = mapping_of(["cardnumber=pan"])
    mapping = type(mapping)(mapping.columns, "who")
    summary = tokenize_file(tester, source, mapping, tmp_path / "out.csv")
    assert (summary.written, summary.rejected) == (3, 2)
    assert summary.rejects_file is not None
    with summary.rejects_file.open(newline="") as file:
        rejects = [(row["line"], row["code"]) for row in csv.DictReader(file)]
    assert rejects == [("3", "sensitive_value_in_metadata"), ("4", "invalid_value")]
    assert "4111111111111111" not in summary.rejects_file.read_text()


def test_the_commands_on_the_real_service(
    server: Server, tester: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _card_file(tmp_path / "cards.csv", 50)
    monkeypatch.setenv("STRONGROOM_URL", server.url)
    monkeypatch.setenv("STRONGROOM_TOKEN", server.key("warehouse-loader"))
    options = ["--column", "cardnumber=pan_unverified", "-o", str(tmp_path / "t.csv")]
    done = CliRunner().invoke(app, ["tokenize", str(source), *options])
    assert done.exit_code == 0, done.output
    back = ["--column", "cardnumber", "--form", "plain", "--purpose", PURPOSE]
    back += ["-o", str(tmp_path / "back.csv")]
    denied = CliRunner().invoke(app, ["detokenize", str(tmp_path / "t.csv"), *back])
    assert (denied.exit_code, "access_denied" in denied.stderr) == (2, True)
    assert not (tmp_path / "back.csv").exists()
    assert check_file(tester, source, CARDS, purpose=PURPOSE) == []
    monkeypatch.setenv("STRONGROOM_TOKEN", server.key("load-tester"))
    assert CliRunner().invoke(app, ["detokenize", str(tmp_path / "t.csv"), *back]).exit_code == 0
    assert (tmp_path / "back.csv").read_bytes() == source.read_bytes()


def test_a_run_outlives_a_killed_service(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    source = _card_file(tmp_path / "cards.csv", 20_000)
    retry = Retry(attempts=1000, deadline=300.0, longest=0.5)
    killed = threading.Event()

    def kill_once(position: int, size: int, rows: int) -> None:
        if rows >= 3000 and not killed.is_set():
            killed.set()
            server.restart()

    with Client(server.url, server.key("load-tester"), retry=retry) as vault:
        output = tmp_path / "t.parquet"
        summary = tokenize_file(vault, source, CARDS, output, progress=kill_once)
        assert killed.is_set()
        assert (summary.rows, summary.rejected) == (20_000, 0)
        assert summary.distinct == _stored(server)
        back = tmp_path / "back.csv"
        detokenize_file(vault, output, CARDS.with_form("plain"), back, purpose=PURPOSE)
    assert back.read_bytes() == source.read_bytes()
