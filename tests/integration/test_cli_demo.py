"""``strongroom demo``: it holds, it can be repeated, and it fails where it does not hold."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.test_cli_service import ROOT, strongroom
from vault_service.cli.demo_data import write_shop
from vault_service.client.scanning import scan_paths
from vault_service.domain.luhn import luhn_valid


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "home"


@pytest.fixture(scope="module")
def first(home: Path) -> subprocess.CompletedProcess[str]:
    return strongroom("demo", home=str(home))


def test_the_story_holds(first: subprocess.CompletedProcess[str]) -> None:
    assert first.returncode == 0, first.stdout + first.stderr
    for part in (
        *("same figures", "nothing in", "access_denied", "CB-1042", "principal issue-key"),
        *("The receipt of the reveal", "each shown to extend the last", "is not what was sealed"),
        *("access_review: ", "The manifest of pci_inventory", "pci_inventory.pdf, "),
    ):
        assert part in first.stdout
    assert first.stdout.count("TAMPERED.") >= 2


def test_no_card_number_is_told_or_left_behind(
    first: subprocess.CompletedProcess[str], home: Path, tmp_path: Path
) -> None:
    shop = write_shop(tmp_path)
    cards = {line.rsplit(",", 1)[1] for line in shop.customers.read_text().splitlines()[1:]}
    assert len(cards) == shop.cards
    assert all(luhn_valid(card) for card in cards)
    told = first.stdout + first.stderr + (home / "demo" / "service.log").read_text()
    assert not any(card in told for card in cards)
    assert sorted(path.name for path in (home / "demo").iterdir()) == [
        "audit.ndjson",
        "audit.vkey",
        "customers.parquet",
        "disputes.csv",
        "kept.checkpoint",
        "orders.parquet",
        "pci_inventory.pdf",
        "pci_inventory.pdf.manifest",
        "pci_inventory.pdf.sealed",
        "reader.pem",
        "reveal.receipt",
        "service.log",
        "warehouse.duckdb",
    ]
    assert scan_paths([home / "demo"]).findings == []


def test_the_report_is_for_its_reader(
    first: subprocess.CompletedProcess[str], home: Path, tmp_path: Path
) -> None:
    """What the demo left verifies and opens by the command, offline, and with its key alone."""
    folder = home / "demo"
    sealed, manifest = folder / "pci_inventory.pdf.sealed", folder / "pci_inventory.pdf.manifest"
    about = ("--manifest", str(manifest))
    key = str(folder / "audit.vkey")
    verified = strongroom("report", "verify", str(sealed), *about, "--key", key, home=str(home))
    assert verified.returncode == 0, verified.stderr
    assert "requested by compliance-officer" in verified.stdout
    for name in ("pci_inventory.pdf", "reader.pem"):
        assert (folder / name).stat().st_mode & 0o077 == 0
    target = tmp_path / "again.pdf"
    again = strongroom(
        *("report", "open", str(sealed), *about, "--key", str(folder / "reader.pem")),
        *("-o", str(target)),
        home=str(home),
    )
    assert again.returncode == 0, again.stderr
    assert target.read_bytes() == (folder / "pci_inventory.pdf").read_bytes()
    assert target.read_bytes().startswith(b"%PDF-")


def test_it_can_be_told_again(first: subprocess.CompletedProcess[str], home: Path) -> None:
    before = (home / "demo" / "disputes.csv").read_text()
    again = strongroom("demo", home=str(home))
    assert again.returncode == 0, again.stdout + again.stderr
    assert (home / "demo" / "disputes.csv").read_text() == before
    keys = strongroom("principal", "list", "auditor", home=str(home)).stdout
    assert keys.count("revoked") == 2
    assert "active" not in keys


def test_it_fails_where_it_does_not_hold(
    first: subprocess.CompletedProcess[str], home: Path, tmp_path: Path
) -> None:
    policies = tmp_path / "policies"
    shutil.copytree(ROOT / "policies", policies)
    (policies / "extra.cedar").write_text(
        '@id("no-plain")\nforbid (principal, action == Action::"detokenize", resource)\n'
        'when { context has form && context.form == "plain" };\n'
    )
    result = strongroom("demo", home=str(home), STRONGROOM_POLICY_DIR=str(policies))
    assert result.returncode == 1
    assert "did not hold: the chargeback service" in result.stderr
    assert not (home / "demo" / "plaintext").exists()
