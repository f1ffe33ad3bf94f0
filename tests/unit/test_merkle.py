"""The Merkle tree: known answers, proofs as the standard writes them, nothing else accepted."""

import hashlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reference_log import entries, extension_of, flipped, flips, path_to, reader, root_of
from vault_service.domain.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofInvalid,
    consistency_proof,
    frontier_nodes,
    inclusion_proof,
    leaf_hash,
    node_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

REFERENCE = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
"""The entries of the Certificate Transparency reference implementation's tests."""

REFERENCE_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

LEAF_5_OF_8 = [
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]
FROM_6_TO_8 = [
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]

SIZES = st.integers(1, 300)
LEAVES = entries(301)
HASHES = [leaf_hash(entry) for entry in LEAVES]
ROOTS = [root_of(LEAVES[:size]) for size in range(len(LEAVES))]
node = reader(LEAVES)


def _rejected(check: Callable[..., None], *arguments: object) -> bool:
    try:
        check(*arguments)
    except ProofInvalid:
        return True
    return False


def _spoiled(proof: Sequence[bytes], data: st.DataObject) -> list[bytes]:
    """The proof with a hash changed by a bit or a length, dropped, added, or swapped."""
    spoiled = list(proof)
    ways = ["add"] if not proof else ["add", "drop", "bit", "length"]
    way = data.draw(st.sampled_from([*ways, "swap"] if len(proof) > 1 else ways))
    if way == "add":
        added = data.draw(st.sampled_from([*HASHES[:4], EMPTY_ROOT, bytes(32), *proof]))
        spoiled.insert(data.draw(st.integers(0, len(proof))), added)
        return spoiled
    at = data.draw(st.integers(0, len(proof) - 1))
    if way == "drop":
        del spoiled[at]
    elif way == "bit":
        spoiled[at] = flipped(spoiled[at], data.draw(st.integers(0, 255)))
    elif way == "length":
        spoiled[at] = data.draw(st.sampled_from([b"", spoiled[at][:31], spoiled[at] + b"\x00"]))
    else:
        other = data.draw(st.integers(0, len(proof) - 1).filter(lambda other: other != at))
        spoiled[at], spoiled[other] = spoiled[other], spoiled[at]
    return spoiled


def test_hashes_and_roots_are_those_of_the_reference() -> None:
    assert EMPTY_ROOT.hex() == REFERENCE_ROOTS[0]  # RFC 6962 2.1
    assert leaf_hash(b"L123456").hex() == (
        "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    )
    assert node_hash(b"N123", b"N456").hex() == (
        "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"
    )
    frontier = Frontier()
    grown = [frontier.root().hex()]
    for entry in REFERENCE:
        frontier.append(leaf_hash(entry))
        grown.append(frontier.root().hex())
    assert grown == REFERENCE_ROOTS
    assert [tree_root(n, reader(REFERENCE)).hex() for n in range(9)] == REFERENCE_ROOTS


def test_proofs_are_those_of_the_reference() -> None:
    proof = inclusion_proof(5, 8, reader(REFERENCE))
    assert [hashed.hex() for hashed in proof] == LEAF_5_OF_8
    proof = consistency_proof(6, 8, reader(REFERENCE))
    assert [hashed.hex() for hashed in proof] == FROM_6_TO_8


def test_every_proof_in_small_trees_is_the_standards_and_verifies() -> None:
    for size in range(1, 41):
        for index in range(size):
            proof = inclusion_proof(index, size, node)
            assert proof == path_to(index, LEAVES[:size])  # RFC 6962 2.1.1
            verify_inclusion(HASHES[index], index, size, proof, ROOTS[size])
            proof = consistency_proof(index + 1, size, node)
            assert proof == extension_of(index + 1, LEAVES[:size])  # RFC 6962 2.1.2
            verify_consistency(index + 1, ROOTS[index + 1], size, ROOTS[size], proof)


@given(SIZES, st.data())
def test_an_inclusion_proof_verifies_and_no_spoiled_one_does(
    size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, node)
    assert proof == path_to(index, LEAVES[:size])
    verify_inclusion(HASHES[index], index, size, proof, ROOTS[size])

    bit = data.draw(st.integers(0, 255))
    spoiled = _spoiled(proof, data)
    leaf, root = HASHES[index], ROOTS[size]
    assert _rejected(verify_inclusion, leaf, index, size, spoiled, root)
    assert _rejected(verify_inclusion, flipped(leaf, bit), index, size, proof, root)
    assert _rejected(verify_inclusion, leaf, index, size, proof, flipped(root, bit))
    other = data.draw(st.integers(-2, 2 * size).filter(lambda other: other != index))
    assert _rejected(verify_inclusion, leaf, other, size, proof, root)


@given(SIZES, st.data())
def test_a_consistency_proof_verifies_and_no_spoiled_one_does(
    new: int, data: st.DataObject
) -> None:
    old = data.draw(st.integers(1, new))
    proof = consistency_proof(old, new, node)
    assert proof == extension_of(old, LEAVES[:new])
    first, last = ROOTS[old], ROOTS[new]
    verify_consistency(old, first, new, last, proof)

    bit = data.draw(st.integers(0, 255))
    spoiled = _spoiled(proof, data)
    assert _rejected(verify_consistency, old, first, new, last, spoiled)
    assert _rejected(verify_consistency, old, flipped(first, bit), new, last, proof)
    assert _rejected(verify_consistency, old, first, new, flipped(last, bit), proof)
    other = data.draw(st.integers(-2, 2 * new).filter(lambda other: other != old))
    assert _rejected(verify_consistency, other, first, new, last, proof)


@given(SIZES, SIZES, st.data())
def test_a_proof_does_not_hold_for_another_size(size: int, other: int, data: st.DataObject) -> None:
    """Neither with the other size's root nor where a proof would have another length."""
    least = min(size, other)
    index = data.draw(st.integers(0, least - 1))
    proof = inclusion_proof(index, size, node)
    if other != size:
        leaf = HASHES[index]
        assert _rejected(verify_inclusion, leaf, index, other, proof, ROOTS[other])
        if len(path_to(index, LEAVES[:other])) != len(proof):
            assert _rejected(verify_inclusion, leaf, index, other, proof, ROOTS[size])
        old = index + 1
        proof = consistency_proof(old, size, node)
        assert _rejected(verify_consistency, old, ROOTS[old], other, ROOTS[other], proof)


def test_no_bit_of_an_inclusion_proof_can_be_changed() -> None:
    index, size = 100, 173
    proof = inclusion_proof(index, size, node)
    leaf, root = HASHES[index], ROOTS[size]
    verify_inclusion(leaf, index, size, proof, root)
    assert len(proof) == 8
    for at, sibling in enumerate(proof):
        for changed in flips(sibling):
            spoiled = [*proof[:at], changed, *proof[at + 1 :]]
            assert _rejected(verify_inclusion, leaf, index, size, spoiled, root)
    for changed in flips(leaf):
        assert _rejected(verify_inclusion, changed, index, size, proof, root)
    for changed in flips(root):
        assert _rejected(verify_inclusion, leaf, index, size, proof, changed)


@pytest.mark.parametrize(("old", "new"), [(100, 173), (64, 173), (173, 173)])
def test_no_bit_of_a_consistency_proof_can_be_changed(old: int, new: int) -> None:
    proof = consistency_proof(old, new, node)
    first, last = ROOTS[old], ROOTS[new]
    verify_consistency(old, first, new, last, proof)
    assert len(proof) == {100: 7, 64: 2, 173: 0}[old]
    for at, sibling in enumerate(proof):
        for changed in flips(sibling):
            spoiled = [*proof[:at], changed, *proof[at + 1 :]]
            assert _rejected(verify_consistency, old, first, new, last, spoiled)
    for changed in flips(first):
        assert _rejected(verify_consistency, old, changed, new, last, proof)
    for changed in flips(last):
        assert _rejected(verify_consistency, old, first, new, changed, proof)


def test_a_proof_of_another_length_is_refused_where_its_root_fits() -> None:
    """As a root that was made to fit a longer or shorter proof would."""
    leaf, extra = HASHES[5], bytes(32)
    path = inclusion_proof(5, 8, node)
    longer = node_hash(extra, ROOTS[8])
    assert _rejected(verify_inclusion, leaf, 5, 8, [*path, extra], longer)
    assert _rejected(verify_inclusion, leaf, 5, 8, path[:-1], node(2, 1))
    path = consistency_proof(5, 8, node)
    longer = node_hash(extra, ROOTS[5])
    new_longer = node_hash(extra, ROOTS[8])
    assert _rejected(verify_consistency, 5, longer, 8, new_longer, [*path, extra])
    path = consistency_proof(4, 12, node)
    assert _rejected(verify_consistency, 4, ROOTS[4], 12, ROOTS[8], path[:-1])


@given(SIZES, st.integers(0, 300))
def test_a_frontier_goes_on_where_another_one_ended(size: int, split: int) -> None:
    split = min(split, size)
    before = Frontier()
    for hashed in HASHES[:split]:
        before.append(hashed)
    assert list(before.nodes) == frontier_nodes(split, node)
    after = Frontier(before.size, before.nodes)
    for hashed in HASHES[split:size]:
        after.append(hashed)
    assert (after.size, after.root()) == (size, ROOTS[size])
    assert (before.size, before.root()) == (split, ROOTS[split])


def test_what_is_no_frontier_is_refused() -> None:
    whole = bytes(32)
    for size, nodes in ((-1, []), (0, [whole]), (3, [whole]), (1, [whole[1:]]), (2**63, [whole])):
        with pytest.raises(ValueError, match="size"):
            Frontier(size, nodes)
    frontier = Frontier()
    with pytest.raises(ValueError, match="hash"):
        frontier.append(hashlib.sha1(b"").digest())
    assert frontier.size == 0


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5), (6, 5), (0, -1), (0, 2**63)])
def test_there_is_no_proof_of_a_leaf_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="size"):
        inclusion_proof(index, size, node)


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 5), (-1, 5), (6, 5), (5, -1), (1, 2**63)])
def test_there_is_no_proof_between_impossible_sizes(old: int, new: int) -> None:
    with pytest.raises(ValueError, match="size"):
        consistency_proof(old, new, node)


@pytest.mark.parametrize("size", [-1, 2**63])
def test_there_is_no_root_of_an_impossible_size(size: int) -> None:
    with pytest.raises(ValueError, match="size"):
        tree_root(size, node)
    with pytest.raises(ValueError, match="size"):
        frontier_nodes(size, node)
