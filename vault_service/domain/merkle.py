"""The Merkle tree of the transparency log: hashes, proofs and their verification.

RFC 6962 2.1 with SHA-256. Hashes are 32 bytes; sizes and indexes count leaves from 0. The
tree itself is kept elsewhere: what proves asks for nodes with a :data:`NodeReader`, and
what verifies needs the proof alone. Verification is the algorithm of RFC 9162 2.1.3.2 and
2.1.4.2, whose proofs are those of RFC 6962.

A proof holds for a size and a root together, as a checkpoint signs them: trees of several
sizes have proofs of one shape, so that a proof alone does not tell the size.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()  # RFC 6962 2.1
MAX_SIZE: Final = 2**63 - 1
"""The most leaves a tree may have, so that sizes fit in a signed 64-bit integer."""

NodeReader = Callable[[int, int], bytes]
"""``node(level, index)``: the hash of the ``index``-th perfect subtree of ``2**level``
leaves."""

_sha256 = hashlib.sha256


class ProofInvalid(ValueError):
    """The proof does not show what it should."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf that holds ``data``."""
    return _sha256(b"\x00" + data).digest()  # RFC 6962 2.1


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of the node above two others."""
    return _sha256(b"\x01" + left + right).digest()  # RFC 6962 2.1


class Frontier:
    """The right edge of a tree that grows leaf by leaf.

    ``nodes`` are the hashes of the perfect subtrees that cover ``size`` leaves, largest
    first: one for each bit set in ``size``. Raises :class:`ValueError` where they are not.
    """

    __slots__ = ("_nodes", "_size")

    def __init__(self, size: int = 0, nodes: Sequence[bytes] = ()) -> None:
        _check_size(size)
        if len(nodes) != size.bit_count() or any(len(node) != HASH_SIZE for node in nodes):
            raise ValueError("not the frontier of a tree of this size")
        self._size = size
        self._nodes = list(nodes)

    @property
    def size(self) -> int:
        """Leaves so far."""
        return self._size

    @property
    def nodes(self) -> tuple[bytes, ...]:
        """The perfect subtrees' hashes, largest first."""
        return tuple(self._nodes)

    def append(self, leaf_hash: bytes) -> None:
        """Add a leaf by its hash; :class:`ValueError` where that is not 32 bytes."""
        if len(leaf_hash) != HASH_SIZE:
            raise ValueError("not a hash")
        node, size, nodes = leaf_hash, self._size, self._nodes
        while size & 1:
            node = _sha256(b"\x01" + nodes.pop() + node).digest()
            size >>= 1
        nodes.append(node)
        self._size += 1

    def root(self) -> bytes:
        """The root of the tree so far."""
        return _joined(self._nodes)


def frontier_nodes(size: int, node: NodeReader) -> list[bytes]:
    """The hashes of the perfect subtrees that cover ``[0, size)``, largest first."""
    _check_size(size)
    return _cover(0, size, node)


def tree_root(size: int, node: NodeReader) -> bytes:
    """The root of the tree's first ``size`` leaves."""
    return _joined(frontier_nodes(size, node))


def inclusion_proof(index: int, size: int, node: NodeReader) -> list[bytes]:
    """The audit path of leaf ``index`` in the tree of ``size`` leaves, from the leaf's
    sibling up (RFC 6962 2.1.1). :class:`ValueError` unless ``0 <= index < size``."""
    _check_size(size)
    if not 0 <= index < size:
        raise ValueError("no such leaf in a tree of this size")
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = _split(start, end)
        if index < middle:
            proof.append(_joined(_cover(middle, end, node)))
            end = middle
        else:
            proof.append(_joined(_cover(start, middle, node)))
            start = middle
    proof.reverse()
    return proof


def consistency_proof(old: int, new: int, node: NodeReader) -> list[bytes]:
    """Shows that the tree of ``new`` leaves extends that of ``old`` (RFC 6962 2.1.2); empty
    where they are one. :class:`ValueError` unless ``0 < old <= new``: every tree extends
    the empty one, so that there is nothing to prove."""
    _check_size(new)
    if not 0 < old <= new:
        raise ValueError("no consistency proof between trees of these sizes")
    proof: list[bytes] = []
    start, end = 0, new
    while end != old:
        middle = _split(start, end)
        if old <= middle:
            proof.append(_joined(_cover(middle, end, node)))
            end = middle
        else:
            proof.append(_joined(_cover(start, middle, node)))
            start = middle
    if start > 0:  # the old tree is not itself a node of the new one
        proof.append(_joined(_cover(start, end, node)))
    proof.reverse()
    return proof


def verify_inclusion(
    leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Raise :class:`ProofInvalid` unless ``proof`` shows that the tree of ``size`` leaves
    with this root has this leaf at ``index`` (RFC 9162 2.1.3.2)."""
    if not 0 <= index < size:
        raise ProofInvalid("no such leaf in a tree of this size")
    _check_hashes([leaf_hash, *proof])
    place, last, node = index, size - 1, leaf_hash
    for sibling in proof:
        if last == 0:
            raise ProofInvalid("the inclusion proof is too long")
        if place & 1 or place == last:
            node = node_hash(sibling, node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise ProofInvalid("the inclusion proof is too short")
    if node != root:
        raise ProofInvalid("the inclusion proof does not lead to the root")


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Raise :class:`ProofInvalid` unless ``proof`` shows that the new tree's first
    ``old_size`` leaves are those of the old one (RFC 9162 2.1.4.2). Nothing is shown about
    an empty old tree."""
    if not 0 < old_size <= new_size:
        raise ProofInvalid("no consistency proof between trees of these sizes")
    _check_hashes(proof)
    if old_size == new_size:
        if proof or old_root != new_root:
            raise ProofInvalid("two trees of one size are not the same")
        return
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    # A perfect old tree is a node of the new one, which the proof does not repeat.
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else proof
    if not path:
        raise ProofInvalid("the consistency proof is too short")
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofInvalid("the consistency proof is too long")
        if place & 1 or place == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise ProofInvalid("the consistency proof is too short")
    if old != old_root or new != new_root:
        raise ProofInvalid("the consistency proof does not lead to the roots")


def _split(start: int, end: int) -> int:
    """Where the tree over ``[start, end)`` parts: at the largest power of two below its
    size (RFC 6962 2.1)."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def _cover(start: int, end: int, node: NodeReader) -> list[bytes]:
    """The perfect subtrees over ``[start, end)``, largest first; ``start`` is a multiple of
    the largest one's size."""
    nodes: list[bytes] = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append(node(level, start >> level))
        start += 1 << level
    return nodes


def _joined(nodes: Sequence[bytes]) -> bytes:
    """The root above perfect subtrees, largest first."""
    if not nodes:
        return EMPTY_ROOT
    root = nodes[-1]
    for left in reversed(nodes[:-1]):
        root = node_hash(left, root)
    return root


def _check_size(size: int) -> None:
    if not 0 <= size <= MAX_SIZE:
        raise ValueError("no tree has this size")


def _check_hashes(proof: Sequence[bytes]) -> None:
    if any(len(node) != HASH_SIZE for node in proof):
        raise ProofInvalid("the proof holds what is not a hash")
