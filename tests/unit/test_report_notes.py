"""Work orders and manifests: one spelling, signed, and nothing else passes for one."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.reporting import DEFINITIONS
from vault_service.domain.notes import NoteError, SignatureInvalid, VerifierKey, sign_line
from vault_service.domain.report_notes import (
    Manifest,
    PartOrder,
    WorkOrder,
    open_manifest,
    open_order,
    open_work,
    order_in,
)
from vault_service.domain.report_parts import MAX_PARTS, Part
from vault_service.domain.report_runs import RUN_ID, Run, RunState, new_run_id
from vault_service.domain.reports import Classification, Column, Format

PRIVATE = ec.generate_private_key(ec.SECP256R1())
KEY = VerifierKey(
    "vault.example/audit",
    PRIVATE.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN = Run(
    id=new_run_id(),
    tenant="main",
    report="chargeback_file",
    template_hash="00" * 32,
    parameters='{"tokens":["tok_pan_x"]}',
    period="2026-01",
    format=Format.CSV,
    recipient="rsa:" + "00" * 32,
    row_cap=5,
    requester="compliance-officer",
    state=RunState.APPROVED,
    requested_at=AT,
    expires_at=AT,
    updated_at=AT,
)


def signed(text: str) -> str:
    signature = PRIVATE.sign(text.encode(), ec.ECDSA(SHA256()))
    return f"{text}\n{sign_line(KEY.name, KEY.key_id, signature)}"


def manifest(run: Run = RUN, columns: int = 2) -> Manifest:
    definition = replace(
        DEFINITIONS["chargeback_file"],
        columns=tuple(
            Column(f"column_{number}", Classification.TOKEN, "") for number in range(columns)
        ),
    )
    return Manifest.of(
        run, definition, policy_hash="00" * 32, last_event="evt_2", checkpoint="x" * 300
    )


def test_an_order_says_what_was_approved() -> None:
    order = open_order(signed(WorkOrder.of(RUN, "chargeback").text()), KEY)
    assert order == WorkOrder.of(RUN, "chargeback")
    for changed in (
        replace(RUN, parameters="{}"),
        replace(RUN, row_cap=6),
        replace(RUN, recipient="rsa:" + "11" * 32),
        replace(RUN, requester="somebody"),
        replace(RUN, expires_at=AT.replace(year=2027)),
        replace(RUN, template_hash="11" * 32),
        replace(RUN, period=""),
        replace(RUN, tenant="other"),
        replace(RUN, format=Format.JSON),
    ):
        assert WorkOrder.of(changed, "chargeback") != order
        assert changed.binding() != RUN.binding() or changed.requester != RUN.requester


def test_long_parameters_do_not_lengthen_an_order() -> None:
    """A KMS key takes 4096 bytes at once."""
    run = replace(RUN, parameters='{"tokens":["' + "x" * 300_000 + '"]}')
    assert len(WorkOrder.of(run, "chargeback").text().encode()) < 1500
    assert len(manifest(run, columns=30).text().encode()) < 4096


def part(number: int) -> Part:
    """A part that was made."""
    return Part(
        "main",
        RUN.id,
        number,
        None,
        None,
        order="",
        done=True,
        rows=number,
        output_sha256=f"{number:064}",
        output_bytes=1 << 40,
        output_location=f"{'r' * 40}/{RUN.id}/part-{number:04}/999999.sealed",
    )


def test_a_manifest_lists_as_many_parts_as_a_run_may_have() -> None:
    parts = [part(number) for number in range(1, MAX_PARTS + 1)]
    definition = DEFINITIONS["chargeback_file"]
    made = Manifest.of(
        RUN, definition, policy_hash="00" * 32, last_event="e", checkpoint=None, parts=parts
    )
    found = open_manifest(signed(made.text()), KEY)
    assert [(each.rows, each.sha256) for each in found.parts] == [
        (number, f"{number:064}") for number in range(1, MAX_PARTS + 1)
    ]


def test_the_order_of_a_part_is_of_that_part_alone() -> None:
    order = WorkOrder.of(RUN, "chargeback")
    told = PartOrder(order=order, part=2, parts=3, after="a", until="b")
    work = open_work(signed(told.text()), KEY)
    assert work == told
    assert order_in(work) == order == order_in(open_work(signed(order.text()), KEY))
    with pytest.raises(NoteError):
        open_order(signed(told.text()), KEY)
    moved = signed(told.text()).replace('"until":"b"', '"until":"c"')
    with pytest.raises(SignatureInvalid):
        open_work(moved, KEY)


def test_neither_passes_for_the_other() -> None:
    order, paper = signed(WorkOrder.of(RUN, "chargeback").text()), signed(manifest().text())
    assert open_manifest(paper, KEY) == manifest()
    with pytest.raises(NoteError):
        open_order(paper, KEY)
    with pytest.raises(NoteError):
        open_manifest(order, KEY)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('"row_cap":5', '"row_cap": 5'),
        ('"v":1', '"v":1,"more":true'),
        ('"row_cap":5', '"row_cap":"5"'),
        ("strongroom/report-order", "strongroom/report-order "),
    ],
)
def test_another_spelling_is_none_even_where_it_is_signed(one: str, other: str) -> None:
    text = WorkOrder.of(RUN, "chargeback").text()
    assert one in text
    with pytest.raises(NoteError):
        open_order(signed(text.replace(one, other)), KEY)


def test_an_altered_order_does_not_verify() -> None:
    note = signed(WorkOrder.of(RUN, "chargeback").text())
    with pytest.raises(SignatureInvalid):
        open_order(note.replace('"row_cap":5', '"row_cap":9'), KEY)


def test_run_ids_are_new_and_in_shape() -> None:
    ids = [new_run_id() for _ in range(2000)]
    assert len(set(ids)) == len(ids)
    assert all(RUN_ID.fullmatch(each) for each in ids)
