"""``strongroom scan`` on real tables: the source is found, its tokenized copy is clean."""

import json
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from vault_service.cli.scan import scan
from vault_service.client.tables import open_table, open_writer
from vault_service.domain.catalog import TokenFormat
from vault_service.domain.tokens import new_tokens

REAL_DATA = Path(__file__).parents[2].parent / "shared/data/adventureworks"
"""AdventureWorks tables beside the repository, where there are any."""

app = typer.Typer()
app.command()(scan)


def _report(*paths: Path, minimum: str = "medium") -> tuple[int, dict[str, Any]]:
    arguments = [*map(str, paths), "--json", "--min-confidence", minimum]
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, json.loads(result.stdout)


def _synthetic_cards(path: Path) -> None:
    """In the shape of the AdventureWorks table: 14 digits, mostly not Luhn-valid."""
    random = Random(11)
    lines = ["creditcardid,cardtype,expyear,modifieddate,expmonth,cardnumber"]
    for i in range(1, 2001):
        prefix = random.choice(["1111", "3333", "5555", "7777"])
        number = f"{prefix}{random.randrange(10**10):010d}"
        lines.append(f"{i},Vista,2006,2013-07-29 00:00:00,11,{number}")
    path.write_text("\n".join(lines) + "\n")


def _synthetic_people(path: Path) -> None:
    random = Random(12)
    lines = ["businessentityid,firstname,lastname,modifieddate,rowguid"]
    for i in range(1, 501):
        guid = random.randbytes(16).hex()
        guid = "-".join((guid[:8], guid[8:12], guid[12:16], guid[16:20], guid[20:]))
        last = random.choice(["Duffy", "S\u00c3\u00a1nchez", "O'Neill", '"de, Vries"'])
        lines.append(f"{i},Ken,{last},2009-01-07 00:00:00,{guid}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(params=["creditcard.csv", "person.csv"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The real table beside the repository; a synthetic one of its shape where there is
    none. ``STRONGROOM_SHARED_DATA=1`` demands the real one."""
    name: str = request.param
    real = REAL_DATA / name
    if real.exists() or os.environ.get("STRONGROOM_SHARED_DATA") == "1":
        return real
    path = tmp_path / name
    (_synthetic_cards if name == "creditcard.csv" else _synthetic_people)(path)
    return path


def _tokenized(source: Path, target: Path) -> None:
    columns = {
        "cardnumber": "pan_unverified",
        "firstname": "person_name",
        "lastname": "person_name",
    }
    with open_table(source) as table:
        classes = {name: columns[name] for name in table.names if name in columns}
        randomness = Random(13).randbytes
        with open_writer(target, table, list(classes)) as writer:
            for batch in table:
                values = {name: [t or "" for t in batch.texts(name)] for name in classes}
                writer.write(
                    batch.replaced(
                        {
                            name: list(
                                new_tokens(classes[name], TokenFormat.OPAQUE, texts, randomness)
                            )
                            for name, texts in values.items()
                        }
                    )
                )


def test_the_source_is_found_and_its_tokenized_copy_is_clean(source: Path, tmp_path: Path) -> None:
    code, report = _report(source)
    found = [(f["column"], f["kind"], f["confidence"]) for f in report["findings"]]
    if source.name == "creditcard.csv":
        assert (code, found) == (1, [("cardnumber", "pan", "medium")])
        assert report["findings"][0]["count"] == report["values"] // 6
    else:
        assert (code, found) == (0, [])

    for suffix in (".parquet", ".csv", ".ndjson"):
        target = tmp_path / f"tokenized{suffix}"
        _tokenized(source, target)
        code, report = _report(target, minimum="low")
        assert (code, report["findings"]) == (0, [])


def test_other_real_tables_are_clean_or_a_synthetic_one_is(tmp_path: Path) -> None:
    """Hexadecimal places, UUIDs, amounts, order and account numbers are no findings."""
    paths = [REAL_DATA / f"{n}.csv" for n in ("address", "customer", "salesorderheader")]
    if not paths[0].exists() and os.environ.get("STRONGROOM_SHARED_DATA") != "1":
        paths = [tmp_path / "orders.csv"]
        paths[0].write_text(
            "place,amount,account,approval,total\n"
            + "E6100000010CAE8BFC28BCE4474067A89189898A5EC0,1971.5149,10-4020-000676,"
            "105041Vi84182,20565.6206\n" * 50
        )
    code, report = _report(*paths, minimum="low")
    assert (code, report["findings"], report["unreadable"]) == (0, [], [])
