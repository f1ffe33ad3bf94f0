"""Values of many pages: in order, some pages ahead, and not more."""

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import cast

import pytest

from reporting_jobs.context import RunVault, TokenEntry
from reporting_jobs.people import PAGES_AHEAD, revealed

NOW = datetime(2026, 11, 25, tzinfo=UTC)
WAIT_SECONDS = 60


def page(number: int) -> list[TokenEntry]:
    names = (f"tok_email_{number}_{place}" for place in range(3))
    return [TokenEntry(name, "email", None, {}, NOW, None) for name in names]


class Slow:
    """Answers for the first page only when the second has been asked for."""

    def __init__(self) -> None:
        self.second = threading.Event()

    def reveal(self, tokens: Sequence[str], form: str) -> Sequence[str | None]:
        if tokens[0].startswith("tok_email_1_"):
            self.second.set()
        elif tokens[0].startswith("tok_email_0_"):
            assert self.second.wait(WAIT_SECONDS)
        elif tokens[0].startswith("tok_email_9_"):
            raise ConnectionError
        return [None if token.endswith("_1") else f"{form} of {token}" for token in tokens]


def test_pages_come_in_order_whatever_comes_first() -> None:
    pages = [page(number) for number in range(6)]
    found = list(revealed(cast(RunVault, Slow()), pages, "plain"))
    assert [given for given, _ in found] == pages
    for given, values in found:
        # The second token of each is no more.
        assert values == [(entry, f"plain of {entry.token}") for entry in (given[0], given[2])]


def test_only_some_pages_are_asked_for_ahead() -> None:
    taken: list[int] = []

    def pages() -> Iterator[list[TokenEntry]]:
        for number in range(9):
            taken.append(number)
            yield page(number)

    found = revealed(cast(RunVault, Slow()), pages(), "plain")
    for number in range(3):
        next(found)
        assert taken == list(range(number + 1 + PAGES_AHEAD))


def test_what_a_page_fails_with_is_raised_at_its_place() -> None:
    found = revealed(cast(RunVault, Slow()), [page(0), page(1), page(9), page(2)], "plain")
    assert [given[0].token for given, _ in (next(found), next(found))] == [
        "tok_email_0_0",
        "tok_email_1_0",
    ]
    with pytest.raises(ConnectionError):
        next(found)
