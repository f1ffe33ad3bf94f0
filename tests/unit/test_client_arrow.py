"""Whole columns as Arrow streams."""

import pyarrow as pa
import pytest

from tests.fakes.scripted_server import DROP, Reply, ScriptedServer, problem
from tests.fakes.vault_over_http import MemoryVault
from tests.unit.conftest import FAST
from vault_service.client import (
    AsyncClient,
    BatchError,
    Client,
    RequestRefused,
    UnexpectedAnswer,
)
from vault_service.client.arrow import (
    detokenize_column,
    detokenize_column_async,
    tokenize_column,
    tokenize_column_async,
)
from vault_service.domain.columns import MEDIA_TYPE


def test_a_column_comes_back_with_its_gaps(vault: Client, server: ScriptedServer) -> None:
    values = pa.chunked_array([["a", None, "b"], [None], ["c", "a"], []], pa.string())
    tokens = tokenize_column(vault, "email", values, batch_rows=2)
    assert len(server.seen) == 2
    assert tokens.null_count == 2
    assert tokens[0] == tokens[5]
    plain = detokenize_column(vault, tokens, purpose="chargeback", form="plain", case="CB-1")
    assert plain.to_pylist() == values.to_pylist()
    assert detokenize_column(vault, tokens, purpose="chargeback")[0].as_py() == "****"


def test_what_travels_is_what_the_contract_names(
    vault: Client, memory: MemoryVault, server: ScriptedServer
) -> None:
    tokens = tokenize_column(
        vault,
        "email",
        pa.array(["a", "b"], pa.large_string()),
        subjects=pa.array(["cus_1", None]),
        tags={"region": "eu"},
        expires_in=60,
        idempotency_key="load-1",
    )
    shared = {"data_class": "email", "tags": {"region": "eu"}, "expires_in": 60}
    assert memory.arrow_requests[0] == {
        "mode": "partial",
        "items": [{"value": "a", "subject": "cus_1", **shared}, {"value": "b", **shared}],
    }
    assert server.seen[0].headers["content-type"] == MEDIA_TYPE
    assert server.seen[0].headers["idempotency-key"] == "load-1"
    detokenize_column(vault, tokens, purpose="chargeback", case="CB-1")
    assert memory.arrow_requests[1] == {
        "purpose": "chargeback",
        "case": "CB-1",
        "items": [{"token": token, "form": "masked"} for token in tokens.to_pylist()],
    }


def test_failures_are_repeated_and_partial_answers_completed(
    vault: Client, memory: MemoryVault, server: ScriptedServer
) -> None:
    server.faults += [DROP, problem(503, "database_unavailable")]
    memory.busy = {"b", "d"}
    tokens = tokenize_column(vault, "email", pa.array(["a", "b", None, "c", "d"]))
    assert [token and memory.values[token][1] for token in tokens.to_pylist()] == [
        "a",
        "b",
        None,
        "c",
        "d",
    ]
    keys = [seen.headers["idempotency-key"] for seen in server.seen]
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_failed_rows_are_raised_with_their_numbers(vault: Client) -> None:
    values = pa.array(["a", None, "bad-canary", "b", "bad-canary"])
    with pytest.raises(BatchError) as caught:
        tokenize_column(vault, "email", values, batch_rows=2)
    assert [(f.index, f.code) for f in caught.value.failures] == [
        (2, "invalid_value"),
        (4, "invalid_value"),
    ]
    assert [text is not None for text in caught.value.results] == [True, False, False, True, False]
    assert "canary" not in str(caught.value)


def test_refusals_are_raised(vault: Client, memory: MemoryVault, server: ScriptedServer) -> None:
    server.faults.append(problem(413, "payload_too_large"))
    with pytest.raises(RequestRefused, match="payload_too_large"):
        tokenize_column(vault, "email", pa.array(["a"]))
    server.faults.append(Reply(200, media_type=MEDIA_TYPE, content=b"not arrow"))
    with pytest.raises(UnexpectedAnswer):
        tokenize_column(vault, "email", pa.array(["a"]))
    server.faults.append(Reply(200, {"items": []}))
    with pytest.raises(UnexpectedAnswer):
        tokenize_column(vault, "email", pa.array(["a"]))


def test_large_columns_are_cut_by_bytes(vault: Client, server: ScriptedServer) -> None:
    tokenize_column(vault, "free_text", pa.array(["x" * 6_000_000] * 5))
    assert len(server.seen) >= 3
    assert all(len(seen.body) <= 16 * 1024 * 1024 for seen in server.seen)
    with pytest.raises(ValueError, match="16 MiB"):
        tokenize_column(vault, "free_text", pa.array(["x" * 17_000_000]))
    with pytest.raises(ValueError, match="atomic"):
        tokenize_column(vault, "free_text", pa.array(["x" * 9_000_000] * 2), mode="atomic")


def test_only_strings_are_values(vault: Client) -> None:
    with pytest.raises(TypeError, match="int64"):
        tokenize_column(vault, "pan", pa.array([4111111111111111]))
    assert tokenize_column(vault, "pan", pa.array([], pa.string())).to_pylist() == []
    assert tokenize_column(vault, "pan", pa.nulls(3, pa.string())).null_count == 3


async def test_the_same_with_asyncio(server: ScriptedServer) -> None:
    async with AsyncClient(server.url, "srk_x", retry=FAST) as vault:
        values = pa.array([str(number) for number in range(50)])
        tokens = await tokenize_column_async(vault, "email", values, batch_rows=7)
        plain = await detokenize_column_async(vault, tokens, purpose="chargeback", form="plain")
    assert plain.equals(values)
