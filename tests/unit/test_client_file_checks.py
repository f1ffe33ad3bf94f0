"""What stops a file before any value of it is sent: its columns, the mapping, the output."""

from pathlib import Path

import pytest

from tests.fakes.scripted_server import ScriptedServer
from tests.fakes.vault_over_http import MemoryVault
from tests.synthetic import people
from vault_service.client import Client
from vault_service.client.file_checks import check_file
from vault_service.client.files import tokenize_file
from vault_service.client.mapping import ColumnMap, MappingError, load_mapping, mapping_of

EMAILS = mapping_of(["email=email"])


def test_the_input_is_never_the_output(vault: Client, tmp_path: Path) -> None:
    source = people(tmp_path / "people.csv", 3)
    before = source.read_bytes()
    (tmp_path / "link.csv").symlink_to(source)
    with pytest.raises(MappingError, match="another file"):
        tokenize_file(vault, source, EMAILS, tmp_path / "link.csv")
    assert source.read_bytes() == before


def test_missing_columns_and_classes_are_named(vault: Client, tmp_path: Path) -> None:
    source = people(tmp_path / "people.csv", 3)
    with pytest.raises(MappingError, match="no column mail; it has: id, email, city"):
        tokenize_file(vault, source, mapping_of(["mail=email"]), tmp_path / "t.csv")
    with pytest.raises(MappingError, match="no data class mail; it has email, free_text, pan"):
        tokenize_file(vault, source, mapping_of(["email=mail"]), tmp_path / "t.csv")
    with pytest.raises(MappingError, match="no column customer"):
        tokenize_file(vault, source, ColumnMap(EMAILS.columns, "customer"), tmp_path / "t.csv")


def test_a_file_without_a_header_is_not_quoted(vault: Client, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("4111111111111111,jo@example.com\n5500005555555559,al@example.com\n")
    with pytest.raises(MappingError, match="lack a header") as caught:
        tokenize_file(vault, source, EMAILS, tmp_path / "t.csv")
    assert "4111" not in str(caught.value)
    assert "example" not in str(caught.value)


def test_a_check_sends_no_value(
    vault: Client, memory: MemoryVault, server: ScriptedServer, tmp_path: Path
) -> None:
    source = people(tmp_path / "people.csv", 3)
    assert check_file(vault, source, EMAILS) == []
    memory.denied = True
    assert "no right to tokenize email" in check_file(vault, source, EMAILS)[0]
    problems = check_file(vault, source, EMAILS.with_form("last4"), purpose="fun")
    assert ["no purpose fun" in problems[0], "no form last4" in problems[1]] == [True, True]
    assert {seen.path for seen in server.seen} == {"/v1/catalog", "/v1/policy/explain"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("columns: {email: {data_class: email}}\ncolour: red\n", "unknown field `colour`"),
        ("columns: {email: {class: email}}\n", "unknown field `class`"),
        ("columns: {email: {data_class: 3}}\n", r"Expected `str \| null`"),
        ("columns: {}\n", "names no columns"),
        ("subject: id\n", "missing required field `columns`"),
        ("- email\n", "Expected `object`"),
        ("columns: {a: {data_class: x}, a: {data_class: y}}\n", "a key is given twice"),
        ("columns: {a\n", "line 2"),
        ("columns: !!python/object:os.system {}\n", "could not determine a constructor"),
        ("", "Expected `object`"),
    ],
)
def test_a_mapping_file_is_read_strictly(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "map.yml").write_text(text)
    with pytest.raises(MappingError, match=message):
        load_mapping(tmp_path / "map.yml")


@pytest.mark.parametrize("pairs", [["=x"], ["a=x", "a=y"], [""]])
def test_column_options_are_read_strictly(pairs: list[str]) -> None:
    with pytest.raises(MappingError, match="COLUMN=CLASS"):
        mapping_of(pairs)
