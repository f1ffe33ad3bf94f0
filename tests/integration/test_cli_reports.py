"""``strongroom report``: from the request to the sealed file, as people type it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.reporting import COLUMNS, PROGRAM, RSA_KEY, job, output, people, stored
from tests.serving import ROOT, Serve, Server


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(program=PROGRAM)


def report(
    server: Server, who: str, *arguments: str, answer: str = "", ends: int = 0
) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        [sys.executable, "-m", "vault_service", "report", *arguments],
        cwd=ROOT,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("STRONGROOM_")},
            "STRONGROOM_URL": server.url,
            "STRONGROOM_TOKEN": server.key(who),
            "COLUMNS": "200",
        },
        input=answer,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == ends, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    return ran


def in_json(server: Server, who: str, *arguments: str, ends: int = 0) -> Any:
    return json.loads(report(server, who, *arguments, "--json", ends=ends).stdout)


def asked(server: Server, tokens: list[str], *more: str) -> Any:
    return in_json(
        *(server, "compliance-officer", "run", "chargeback_file"),
        *("-p", f"tokens={','.join(tokens)}", "--recipient", RSA_KEY, *more),
    )


def test_from_the_request_to_the_sealed_file(server: Server, tmp_path: Path) -> None:
    tokens = stored(server, 2, seed=80)
    run = asked(server, tokens, "--row-cap", "2", "--format", "json")
    lead, officer = "compliance-lead", "compliance-officer"
    # What is approved is shown, field by field, and asked about.
    declined = report(server, lead, "approve", run["id"], answer="n\n", ends=2)
    for value in run["binding"].values():
        assert str(value) in declined.stdout or value == ""
    assert "Nothing was approved." in declined.stderr
    assert report(server, lead, "approve", run["id"], ends=2).stderr.endswith("approved.\n")
    assert in_json(server, lead, "show", run["id"])["state"] == "requested"
    accepted = report(server, lead, "approve", run["id"], answer="y\n")
    assert f"{run['id']}  chargeback_file  approved" in accepted.stdout
    client = job(server, "chargeback_file")
    client.start(people(server, officer).run(run["id"]).order or "")
    client.finish(rows=2, columns=COLUMNS, **output(server, client, b"sealed bytes"))
    again = in_json(
        *(server, officer, "run", "chargeback_file", "-p", f"tokens={','.join(tokens)}"),
        *("--recipient", RSA_KEY, "--format", "json", "--wait"),
    )
    assert (again["id"], again["state"], again["created"]) == (run["id"], "succeeded", False)
    path = tmp_path / "file.sealed"
    report(server, officer, "output", run["id"], "-o", str(path))
    assert path.read_bytes() == b"sealed bytes"
    assert report(server, officer, "show", run["id"], "--manifest").stdout.startswith(
        "strongroom/report-manifest\n"
    )
    assert [run["id"]] == [
        found["id"] for found in in_json(server, lead, "list", "--state", "succeeded")
    ]


def test_waiting_for_a_run_that_does_not_succeed(server: Server) -> None:
    tokens = stored(server, 1, seed=81)
    run = asked(server, tokens)
    report(server, "compliance-lead", "reject", run["id"])
    waiting = asked(server, tokens)
    report(server, "compliance-lead", "approve", waiting["id"], "--yes")
    client = job(server, "chargeback_file")
    client.start(people(server, "compliance-lead").run(waiting["id"]).order or "")
    client.fail("key_unavailable")
    shown = report(server, "compliance-officer", "show", waiting["id"]).stdout
    assert "failed by key_unavailable" in shown


def test_what_is_refused_says_the_rule(server: Server) -> None:
    run = asked(server, stored(server, 1, seed=82))
    own = report(server, "compliance-officer", "approve", run["id"], "--yes", ends=2)
    assert "self_approval" in own.stderr
    for arguments, text in (
        (("run", "chargeback_file"), "--recipient"),
        (("run", "nothing", "--recipient", RSA_KEY), "no such report"),
        (("run", "chargeback_file", "-p", "tokens", "--recipient", RSA_KEY), "NAME=VALUE"),
        (("run", "chargeback_file", "-p", "x=1", "--recipient", RSA_KEY), "no such parameter"),
        (("run", "access_review", "-p", "top=x", "--recipient", RSA_KEY), "whole number"),
        (("run", "chargeback_file", "--recipient", RSA_KEY), "parameters.tokens"),
        (("show", f"run_{'0' * 26}"), "not_found"),
        (("output", run["id"], "-o", "/nonexistent/file"), "Cannot write"),
        (("withdraw", "sap_unknown"), "not_found"),
    ):
        assert text in report(server, "compliance-officer", *arguments, ends=2).stderr, arguments


def test_the_list_says_what_one_may_do(server: Server) -> None:
    listed = report(server, "compliance-officer", "list").stdout
    assert "chargeback_file: Chargeback file" in listed
    assert "you may run; needs an approval; up to 5 rows; csv, json" in listed
    found = {each["name"]: each for each in in_json(server, "auditor", "list")}
    assert found["access_review"]["may_run"] is False
