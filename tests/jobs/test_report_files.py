"""``strongroom report open`` and ``verify``: what a reader and an auditor do with a file."""

import stat
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from reporting_jobs import sealing
from tests.fakes.report_vault import ReportVault
from tests.jobs.conftest import RsaPair, ordered, sha256
from vault_service.cli.report_files import open_output, verify_output
from vault_service.domain.report_notes import AuditRange, Manifest, ManifestColumn

APP = typer.Typer()
APP.command("open")(open_output)
APP.command("verify")(verify_output)


class Delivered:
    """A sealed file and its manifest on disk, and who signed."""

    def __init__(self, folder: Path, vault: ReportVault, reader: RsaPair) -> None:
        order = ordered(vault.order("tiny", reader.recipient.name))
        bound = sealing.context(order.run, order.report, order.template_hash)
        sealed = sealing.Sealed([b"token,email\r\n"], reader.recipient, bound)
        data = b"".join(sealed)
        self.manifest = Manifest(
            run=order.run,
            tenant="main",
            report="tiny",
            template_hash=order.template_hash,
            parameters_sha256=order.parameters_sha256,
            period="",
            rows=0,
            row_cap=5,
            columns=(ManifestColumn("token", "token"),),
            format="csv",
            recipient=order.recipient,
            output_sha256=sha256(data),
            output_location="tiny/run/1.sealed",
            parts=(),
            output_bytes=len(data),
            requester="compliance-officer",
            requested_at="2026-11-25T06:00:00+00:00",
            approver="compliance-lead",
            approved_at="2026-11-25T06:01:00+00:00",
            finished_at="2026-11-25T06:02:00+00:00",
            policy_hash="ab",
            audit=AuditRange("evt_1", "evt_2"),
            checkpoint=None,
        )
        self.file, self.note = folder / "file.sealed", folder / "manifest"
        self.key, self.private = folder / "log.key", folder / "reader.pem"
        self.file.write_bytes(data)
        self.note.write_text(vault.sign(self.manifest.text()))
        self.key.write_text(vault.key.encode() + "\n")
        self.private.write_bytes(reader.private)

    def run(self, command: str, *more: Any) -> tuple[int, str]:
        arguments = [command, str(self.file), "--manifest", str(self.note), *map(str, more)]
        result = CliRunner().invoke(APP, arguments)
        return result.exit_code, result.output


@pytest.fixture
def delivered(tmp_path: Path, vault: ReportVault, reader: RsaPair) -> Delivered:
    return Delivered(tmp_path, vault, reader)


def test_the_reader_opens_it(delivered: Delivered, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    code, told = delivered.run(
        "open", "--key", delivered.private, "-o", out, "--log-key", delivered.key
    )
    assert code == 0, told
    assert out.read_bytes() == b"token,email\r\n"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert delivered.run("open", "--key", delivered.private, "-o", out)[0] == 2


@pytest.mark.parametrize("spoil", ["file", "other run", "other key", "unsigned"])
def test_nothing_is_left_of_what_does_not_open(
    delivered: Delivered, vault: ReportVault, stranger: RsaPair, tmp_path: Path, spoil: str
) -> None:
    if spoil == "file":
        data = bytearray(delivered.file.read_bytes())
        data[-1] ^= 1
        delivered.file.write_bytes(data)
    elif spoil == "other run":
        text = delivered.manifest.text().replace(delivered.manifest.run, "run_" + "0" * 26)
        delivered.note.write_text(vault.sign(text))
    elif spoil == "other key":
        delivered.private.write_bytes(stranger.private)
    else:
        text = delivered.note.read_text().replace('"rows":0', '"rows":1')
        delivered.note.write_text(text)
    before = sorted(tmp_path.iterdir())
    code, _ = delivered.run(
        "open", "--key", delivered.private, "-o", tmp_path / "out", "--log-key", delivered.key
    )
    assert code == 1
    assert sorted(tmp_path.iterdir()) == before


def test_an_auditor_verifies_it_without_its_key(delivered: Delivered) -> None:
    code, told = delivered.run("verify", "--key", delivered.key)
    assert code == 0, told
    assert "approved by compliance-lead" in told


@pytest.mark.parametrize("spoil", ["file", "longer", "manifest", "key"])
def test_another_file_manifest_or_key_does_not_verify(delivered: Delivered, spoil: str) -> None:
    if spoil in ("file", "longer"):
        data = bytearray(delivered.file.read_bytes())
        data[10] ^= spoil == "file"
        delivered.file.write_bytes(data + (b"x" if spoil == "longer" else b""))
    elif spoil == "manifest":
        text = delivered.note.read_text().replace("compliance-lead", "compliance-lady")
        delivered.note.write_text(text)
    else:
        with ReportVault({}) as other:
            delivered.key.write_text(other.key.encode())
    assert delivered.run("verify", "--key", delivered.key)[0] == 1
