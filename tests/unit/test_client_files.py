"""Files through the client: what comes out, what is left out, and what a stop leaves."""

import csv
import json
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.fakes.scripted_server import Reply, ScriptedServer, Seen, problem
from tests.fakes.vault_over_http import MemoryVault
from tests.synthetic import people
from tests.unit.conftest import FAST
from vault_service.client import Client, RequestRefused, operations
from vault_service.client.files import Summary, detokenize_file, tokenize_file
from vault_service.client.mapping import load_mapping, mapping_of
from vault_service.client.tables import open_table

EMAILS = mapping_of(["email=email"])


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _back(vault: Client, source: Path, output: Path, *columns: str) -> Summary:
    mapping = mapping_of(columns).with_form("plain")
    return detokenize_file(vault, source, mapping, output, purpose="data_quality")


@pytest.mark.parametrize("suffix", ["csv", "ndjson", "parquet"])
def test_a_file_comes_back_byte_for_byte(vault: Client, tmp_path: Path, suffix: str) -> None:
    source = people(tmp_path / "people.csv", 12_345)
    tokens = tmp_path / f"tokens.{suffix}"
    summary = tokenize_file(vault, source, EMAILS, tokens)
    assert (summary.rows, summary.written, summary.rejected) == (12_345, 12_345, 0)
    assert summary.distinct == 12_345
    with open_table(tokens) as table:
        cells = [text for batch in table for text in batch.texts("email")]
    assert all(text is not None and text.startswith("tok_email_") for text in cells)
    _back(vault, tokens, tmp_path / "back.csv", "email")
    assert (tmp_path / "back.csv").read_bytes() == source.read_bytes()


def test_values_as_strange_as_they_come(vault: Client, tmp_path: Path) -> None:
    source = tmp_path / "names.csv"
    rows = 'name,note\n"SÃ¡nchez","a, b"\n"two\nlines",\n,"empty"\n"  spaced  ",x\n"q""q",y\n'
    source.write_bytes(rows.encode())
    tokenize_file(vault, source, mapping_of(["name=person_name"]), tmp_path / "t.csv")
    assert [row["name"][:4] for row in _rows(tmp_path / "t.csv")] == ["tok_"] * 2 + [""] + [
        "tok_"
    ] * 2
    _back(vault, tmp_path / "t.csv", tmp_path / "back.csv", "name")
    assert _rows(tmp_path / "back.csv") == _rows(source)


def test_numbers_in_typed_files_are_values_too(vault: Client, tmp_path: Path) -> None:
    table = pa.table({"card": pa.array([4111111111111111, None, 5]), "n": pa.array([1, 2, 3])})
    pq.write_table(table, tmp_path / "cards.parquet")
    tokenize_file(
        vault, tmp_path / "cards.parquet", mapping_of(["card=pan"]), tmp_path / "t.parquet"
    )
    written = pq.read_table(tmp_path / "t.parquet")
    assert written.schema.field("card").type in (pa.string(), pa.large_string())
    assert written.column("card").null_count == 1
    assert written.column("n").type == pa.int64()
    _back(vault, tmp_path / "t.parquet", tmp_path / "back.ndjson", "card")
    lines = [json.loads(line) for line in (tmp_path / "back.ndjson").read_text().splitlines()]
    assert [line["card"] for line in lines] == ["4111111111111111", None, "5"]


def test_rows_that_are_refused_are_listed_by_line_and_left_out(
    vault: Client, tmp_path: Path
) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(b"id,email\n1,good-1\n2,bad-canary\n3,\n4,\xff\xfe\n5,good-2\n6,too,many\n")
    output = tmp_path / "out.csv"
    summary = tokenize_file(vault, source, EMAILS, output)
    assert (summary.rows, summary.written, summary.rejected) == (6, 3, 3)
    assert [row["id"] for row in _rows(output)] == ["1", "3", "5"]
    assert summary.rejects_file == tmp_path / "out.csv.rejects.csv"
    rejects = _rows(summary.rejects_file)
    assert [(r["line"], r["column"], r["code"]) for r in rejects] == [
        ("3", "email", "invalid_value"),
        ("5", "email", "invalid_value"),
        ("7", "", "invalid_row"),
    ]
    assert all(row["reason"] for row in rejects)
    assert "canary" not in summary.rejects_file.read_text()


def test_a_clean_run_takes_away_the_rejects_of_the_last(vault: Client, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    output = tmp_path / "out.csv"
    source.write_text("email\nbad\n")
    assert tokenize_file(vault, source, EMAILS, output).rejected == 1
    source.write_text("email\ngood\n")
    assert tokenize_file(vault, source, EMAILS, output).rejects_file is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_equal_values_are_sent_once_and_every_row_has_its_token(
    vault: Client, server: ScriptedServer, tmp_path: Path
) -> None:
    source = tmp_path / "in.csv"
    source.write_text("email\n" + "same\nother\n" * 400)
    summary = tokenize_file(vault, source, EMAILS, tmp_path / "t.csv")
    posts = [seen for seen in server.seen if seen.method == "POST"]
    assert [len(seen.json["items"]) for seen in posts] == [2]
    assert "idempotency-key" not in posts[0].headers
    assert (summary.cells, summary.distinct) == (800, 2)
    _back(vault, tmp_path / "t.csv", tmp_path / "back.csv", "email")
    assert (tmp_path / "back.csv").read_text() == source.read_text()
    assert len(server.seen[-1].json["items"]) == 2


def test_subjects_tags_and_expiry_go_along(
    vault: Client, server: ScriptedServer, tmp_path: Path
) -> None:
    source = tmp_path / "in.csv"
    source.write_text("id,email\ncus_1,a\n,b\ncus_2,a\n")
    (tmp_path / "map.yml").write_text(
        "columns:\n  email: {data_class: email, tags: {region: eu}, expires_in: 60}\nsubject: id\n"
    )
    tokenize_file(vault, source, load_mapping(tmp_path / "map.yml"), tmp_path / "t.csv")
    shared = {"data_class": "email", "tags": {"region": "eu"}, "expires_in": 60}
    assert server.seen[-1].json["items"] == [
        {"value": "a", "subject": "cus_1", **shared},
        {"value": "b", **shared},
        {"value": "a", "subject": "cus_2", **shared},
    ]


def test_a_repeated_run_gives_the_same_tokens_also_where_tokens_are_random(
    vault: Client, memory: MemoryVault, server: ScriptedServer, tmp_path: Path
) -> None:
    source = people(tmp_path / "people.csv", 3500)
    mapping = mapping_of(["email=free_text", "city=email"])
    server.faults += [lambda seen: problem(503, "database_unavailable")] * 3
    memory.busy = {_rows(source)[1500]["email"]}
    tokenize_file(vault, source, mapping, tmp_path / "one.csv")
    stored = len(memory.values)
    tokenize_file(vault, source, mapping, tmp_path / "two.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert len(memory.values) == stored
    # Another file is another matter, though the values are the same.
    source.write_text(source.read_text() + "x,y,z\n")
    tokenize_file(vault, source, mapping, tmp_path / "three.csv")
    assert len(memory.values) > stored


def test_requests_overlap_and_rows_keep_their_order(
    vault: Client, memory: MemoryVault, server: ScriptedServer, tmp_path: Path
) -> None:
    source = people(tmp_path / "people.csv", 6000)
    together = threading.Barrier(3, timeout=10)

    def later_ones_first(seen: Seen) -> Reply:
        reply = memory(seen)
        together.wait()
        return reply

    server.faults += [memory, *[later_ones_first] * 3]
    tokenize_file(vault, source, EMAILS, tmp_path / "t.csv")
    assert server.most_running >= 3
    _back(vault, tmp_path / "t.csv", tmp_path / "back.csv", "email")
    assert (tmp_path / "back.csv").read_bytes() == source.read_bytes()


def test_who_has_no_right_is_refused_and_nothing_is_left(
    vault: Client, memory: MemoryVault, server: ScriptedServer, tmp_path: Path
) -> None:
    source = people(tmp_path / "people.csv", 30_000)
    memory.denied = True
    with pytest.raises(RequestRefused) as caught:
        tokenize_file(vault, source, EMAILS, tmp_path / "t.csv")
    assert caught.value.code == "access_denied"
    assert caught.value.request_id == "req-1"
    assert [path.name for path in tmp_path.iterdir()] == ["people.csv"]
    assert len(server.seen) < 20


def test_a_refused_run_takes_back_what_has_not_begun(
    memory: MemoryVault, server: ScriptedServer, tmp_path: Path
) -> None:
    source = people(tmp_path / "people.csv", 30_000)
    memory.denied = True
    go_on = threading.Event()

    def held(seen: Seen) -> Reply:
        go_on.wait(timeout=10)
        return memory(seen)

    server.faults += [memory, memory, held]
    with Client(server.url, "srk_x", retry=FAST, concurrency=1) as vault:
        with pytest.raises(RequestRefused):
            tokenize_file(vault, source, EMAILS, tmp_path / "t.csv")
        go_on.set()
        vault.submit(operations.whoami(FAST)).result()
    assert sum(seen.path == "/v1/tokenize" for seen in server.seen) <= 2


def test_a_service_that_goes_away_leaves_the_old_output(
    vault: Client, memory: MemoryVault, server: ScriptedServer, tmp_path: Path
) -> None:
    source = people(tmp_path / "people.csv", 5000)
    output = tmp_path / "t.csv"
    output.write_text("what was there\n")
    answered = iter(range(3))

    def three_then_none(seen: Seen) -> Reply:
        if seen.method == "GET" or next(answered, None) is not None:
            return memory(seen)
        return problem(503, "key_unavailable")

    server.handler = three_then_none
    with pytest.raises(RequestRefused, match="key_unavailable"):
        tokenize_file(vault, source, EMAILS, output)
    assert output.read_text() == "what was there\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people.csv", "t.csv"]


def test_denials_of_some_rows_are_rejects(
    vault: Client, tmp_path: Path, server: ScriptedServer
) -> None:
    def some(seen: Seen) -> Reply:
        def result(index: int, token: str) -> dict[str, object]:
            if token == "tok_eu":
                error = {"code": "access_denied", "detail": "No.", "retryable": False}
                return {"index": index, "status": "error", "error": error}
            return {"index": index, "status": "ok", "value": "v"}

        items = [result(i, item["token"]) for i, item in enumerate(seen.json["items"])]
        return Reply(207, {"items": items, "request_id": "r"})

    server.handler = some
    source = tmp_path / "in.csv"
    source.write_text("email\ntok_us\ntok_eu\ntok_us\n")
    summary = _back(vault, source, tmp_path / "out.csv", "email")
    assert (summary.written, summary.rejected) == (2, 1)


def test_plain_output_is_the_owners_alone(vault: Client, tmp_path: Path) -> None:
    source = people(tmp_path / "people.csv", 3)
    tokenize_file(vault, source, EMAILS, tmp_path / "t.csv")
    _back(vault, tmp_path / "t.csv", tmp_path / "back.csv", "email")
    assert (tmp_path / "back.csv").stat().st_mode & 0o077 == 0


def test_memory_stays_flat(vault: Client, server: ScriptedServer, tmp_path: Path) -> None:
    """The reader never is more than its window ahead of the writer, however long the
    file and however slow the answers."""
    from vault_service.client import files

    source = people(tmp_path / "people.csv", 60_000)
    ahead: list[int] = []

    def progress(position: int, size: int, rows: int) -> None:
        ahead.append(len([1 for seen in server.seen if seen.method == "POST"]) * 1000 - rows)

    tokenize_file(vault, source, EMAILS, tmp_path / "t.csv", progress=progress)
    assert len(ahead) == 60
    assert max(ahead) <= files._WINDOW * 1000
