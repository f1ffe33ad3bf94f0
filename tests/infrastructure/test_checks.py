"""The checks themselves: what each must find, shown by something that has it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from infra.checks import dockerfile, secret_scan, terraform_style
from infra.checks.commands import ROOT
from infra.checks.policies import of_json

# Parts of things that look like secrets, put together where they are needed: this file is
# scanned, too.
_KEY_ID: Final = "AKIA" + "Q3EGR7WZN5KLM2XV"
_PRIVATE: Final = (
    ec.generate_private_key(ec.SECP256R1())
    .private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    .decode()
)
_PASSWORD: Final = "password" + ' = "pX9-vv2e-8LqW-zz41"'


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "infra.checks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("ignored\n")
    return tmp_path


@pytest.mark.parametrize(
    "secret", [_KEY_ID, _PRIVATE, _PASSWORD], ids=["key id", "private key", "password"]
)
def test_a_secret_is_found_and_not_repeated(repository: Path, secret: str) -> None:
    (repository / "notes.py").write_text(f"# one\n# two\n{secret}\n")
    findings = secret_scan.scan(repository, []).findings
    assert findings
    assert {finding.rule for finding in findings} == {"no-secrets"}
    # Of a private key, the scanner names the line below its head.
    assert findings[0].where in ("notes.py:3", "notes.py:4")
    assert secret not in "".join(map(str, findings))


def test_a_file_that_git_ignores_is_not_scanned(repository: Path) -> None:
    (repository / "ignored").write_text(_PRIVATE)
    assert secret_scan.scan(repository, []).findings == []


def test_a_known_value_is_let_pass_where_it_is_known(repository: Path) -> None:
    known = [secret_scan.Allowance(re.compile("AKIA"), ("tests/*",), "published")]
    (repository / "tests").mkdir()
    (repository / "tests" / "a.txt").write_text(_KEY_ID)
    assert secret_scan.scan(repository, known).findings == []
    (repository / "b.txt").write_text(_KEY_ID)
    assert [each.where for each in secret_scan.scan(repository, known).findings] == ["b.txt:1"]


def test_a_known_value_that_is_nowhere_is_a_finding(repository: Path) -> None:
    known = [secret_scan.Allowance(re.compile("AKIA"), ("*",), "published")]
    (finding,) = secret_scan.scan(repository, known).findings
    assert finding.rule == "known-values"


def test_hadolint_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    text = (ROOT / "Dockerfile").read_text()
    path.write_text(text.replace("FROM python:3.11-slim-bookworm AS", "FROM python AS"))
    assert "DL3006" in {finding.rule for finding in dockerfile.check(path).findings}


_MODULE: Final = """\
terraform {
  required_version = ">= 1.11.0, < 2.0.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

variable "name" {
  description = "What it is called."
  type        = string

  validation {
    condition     = length(var.name) > 2
    error_message = "name is too short."
  }
}

locals {
  used = var.name
}

data "aws_region" "here" {}

output "place" {
  description = "Where it is."
  value       = "${local.used} ${data.aws_region.here.name}"
}
"""


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("", "", None),
        ("  type        = string\n", "", "variables-are-typed"),
        ('  description = "What it is called."\n', "", "variables-are-described"),
        ("  validation {\n    condition     = length(var.name) > 2\n"
         '    error_message = "name is too short."\n  }\n', "", "variables-are-validated"),
        ("used = var.name", 'used = "x"', "what-is-declared-is-used"),
        ("${local.used} ", "", "what-is-declared-is-used"),
        (" ${data.aws_region.here.name}", "", "what-is-declared-is-used"),
        ('  description = "Where it is."\n', "", "outputs-are-described"),
        ('"~> 5.100"', '">= 5.0"', "versions-are-pinned"),
        ('  required_version = ">= 1.11.0, < 2.0.0"\n', "", "versions-are-pinned"),
        ("locals {", 'module "m" {\n  source = "terraform-aws-modules/vpc/aws"\n}\n\nlocals {',
         "sources-are-local"),
        ("locals {", 'resource "aws_vpc" "Main-Net" {}\n\nlocals {', "names-are-plain"),
    ],
)  # fmt: skip
def test_style_is_held(tmp_path: Path, old: str, new: str, rule: str | None) -> None:
    module = tmp_path / "module"
    module.mkdir()
    assert old in _MODULE
    (module / "main.tf").write_text(_MODULE.replace(old, new) if old else _MODULE)
    found = {finding.rule for finding in terraform_style.check(tmp_path).findings}
    assert found == ({rule} if rule else set())


@pytest.mark.parametrize(
    ("statement", "covers"),
    [
        ({"Action": "kms:Decrypt"}, True),
        ({"Action": ["s3:GetObject", "KMS:decrypt"]}, True),
        ({"Action": "kms:*"}, True),
        ({"Action": "kms:De?rypt*"}, True),
        ({"Action": "*"}, True),
        ({"NotAction": "s3:*"}, True),
        ({"NotAction": "kms:*"}, False),
        ({"Action": "kms:DecryptX"}, False),
        ({"Action": []}, False),
    ],
)
def test_a_statement_covers_what_iam_says_it_does(
    statement: dict[str, object], covers: bool
) -> None:
    (read,) = of_json(json.dumps({"Statement": {"Effect": "Allow", **statement}}))
    assert read.covers("kms:Decrypt") is covers


def test_a_step_that_there_is_not_is_wrong_usage() -> None:
    done = run("no-such-step")
    assert done.returncode == 2
    assert "no such step: no-such-step" in done.stderr


def test_a_file_that_is_no_plan_fails_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("{}")
    done = run("plan", "--plan", str(path))
    assert done.returncode == 1
    assert "FAIL plan: could not be checked" in done.stdout
    assert "terraform show -json" in done.stdout


def test_a_provider_that_is_not_there_fails_and_says_how_to_hand_it_over(tmp_path: Path) -> None:
    configuration = tmp_path / "empty.tfrc"
    configuration.write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{tmp_path}"\n  }}\n}}\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "infra.checks", "terraform-validate"],
        cwd=ROOT,
        env={**os.environ,
             "TF_CLI_CONFIG_FILE": str(configuration)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "TF_CLI_CONFIG_FILE" in done.stdout
