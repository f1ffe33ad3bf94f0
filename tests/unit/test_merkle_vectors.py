"""Inclusion and consistency proofs of transparency-dev/merkle, most of them broken."""

import base64
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.reference_log import entries, extension_of, flipped, path_to, root_of
from vault_service.domain.merkle import (
    EMPTY_ROOT,
    ProofInvalid,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)

VECTORS: Final = Path(__file__).parents[2].parent / "shared/vectors/rfc6962-proofs.json"
"""196 proofs with their expected result beside the repository, where they are there."""


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _data(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def _proof(case: dict[str, Any]) -> list[bytes]:
    return [_data(hashed) for hashed in case["proof"] or ()]


def _spoiled(proof: list[bytes], roots: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The ways in which the vectors' proofs are broken."""
    for extra in (b"", *roots):
        yield [extra, *proof]
        yield [*proof, extra]
    for at, hashed in enumerate(proof):
        yield [*proof[:at], flipped(hashed, 4), *proof[at + 1 :]]
        yield [*proof[:at], *proof[at + 1 :]]


def _made_inclusions() -> Iterator[dict[str, Any]]:
    for index, size in ((0, 1), (0, 8), (5, 8), (2, 3), (1, 5)):
        leaves = entries(size)
        proof, root, leaf = path_to(index, leaves), root_of(leaves), leaf_hash(leaves[index])
        cases: list[tuple[int, int, bytes, bytes, list[bytes], bool]] = [
            (index, size, root, leaf, proof, False),
            (index - 1, size, root, leaf, proof, True),
            (index + 1, size, root, leaf, proof, True),
            (index ^ 2, size, root, leaf, proof, True),
            (index, 2 * size, root, leaf, proof, True),
            (index, size // 2, root, leaf, proof, True),
            (index, size, root, b"WrongLeaf", proof, True),
            (index, size, EMPTY_ROOT, leaf, proof, True),
        ]
        cases += [(index, size, root, leaf, bad, True) for bad in _spoiled(proof, [root])]
        for leaf_index, tree_size, a, b, path, bad in cases:
            yield {
                "leafIdx": leaf_index, "treeSize": tree_size, "root": _text(a),
                "leafHash": _text(b), "proof": list(map(_text, path)), "wantErr": bad,
            }  # fmt: skip


def _made_consistencies() -> Iterator[dict[str, Any]]:
    for old, new in ((1, 1), (1, 8), (6, 8), (2, 5), (6, 7)):
        leaves = entries(new)
        proof, first, last = extension_of(old, leaves), root_of(leaves[:old]), root_of(leaves)
        cases: list[tuple[int, int, bytes, bytes, list[bytes], bool]] = [
            (old, new, first, last, proof, False),
            (old - 1, new, first, last, proof, True),
            (old + 1, new, first, last, proof, True),
            (old ^ 2, new, first, last, proof, True),
            (old, 2 * new, first, last, proof, True),
            (old, new // 2, first, last, proof, True),
            (old, new, b"WrongRoot", last, proof, True),
            (old, new, first, b"WrongRoot", proof, True),
            (0, new, EMPTY_ROOT, last, [], True),
            (0, 0, EMPTY_ROOT, EMPTY_ROOT, [], True),
        ]
        cases += [(old, new, first, last, bad, True) for bad in _spoiled(proof, [first, last])]
        for size1, size2, a, b, path, bad in cases:
            yield {
                "size1": size1, "size2": size2, "root1": _text(a), "root2": _text(b),
                "proof": list(map(_text, path)), "wantErr": bad,
            }  # fmt: skip


@pytest.fixture(scope="module")
def vectors() -> dict[str, list[dict[str, Any]]]:
    """The vectors beside the repository; such as are made here where there are none.
    ``STRONGROOM_SHARED_DATA=1`` demands the real ones."""
    if VECTORS.exists() or os.environ.get("STRONGROOM_SHARED_DATA") == "1":
        found: dict[str, list[dict[str, Any]]] = json.loads(VECTORS.read_text())
        assert {kind: len(cases) for kind, cases in found.items()} == {
            "inclusion": 98,
            "consistency": 98,
        }
        return found
    return {"inclusion": [*_made_inclusions()], "consistency": [*_made_consistencies()]}


def _is_rejected(kind: str, case: dict[str, Any]) -> bool:
    try:
        if kind == "inclusion":
            leaf, root = _data(case["leafHash"]), _data(case["root"])
            verify_inclusion(leaf, case["leafIdx"], case["treeSize"], _proof(case), root)
        else:
            old, new = _data(case["root1"]), _data(case["root2"])
            verify_consistency(case["size1"], old, case["size2"], new, _proof(case))
    except ProofInvalid:
        return True
    return False


@pytest.mark.parametrize("kind", ["inclusion", "consistency"])
def test_every_proof_gives_its_expected_result(
    vectors: dict[str, list[dict[str, Any]]], kind: str
) -> None:
    cases = vectors[kind]
    assert {case["wantErr"] for case in cases} == {True, False}
    assert [case for case in cases if _is_rejected(kind, case) != case["wantErr"]] == []
