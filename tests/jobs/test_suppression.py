"""Nothing that was hidden can be worked out from what is shown, by somebody who knows how
it was hidden."""

import itertools
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting_jobs.suppression import Shown, suppress

MINIMUMS = st.sampled_from([3, 4, 10])
GROUPS = st.lists(st.integers(0, 60), max_size=12)


@pytest.mark.parametrize("minimum", [3, 4, 5])
@pytest.mark.parametrize(("count", "largest"), [(1, 12), (2, 12), (3, 10), (4, 7)])
def test_every_hidden_figure_has_two_values_that_would_look_the_same(
    minimum: int, count: int, largest: int
) -> None:
    looks: dict[Shown, list[tuple[int, ...]]] = defaultdict(list)
    for groups in itertools.product(range(largest + 1), repeat=count):
        looks[suppress(groups, minimum)].append(groups)
    for shown, worlds in looks.items():
        for place, figure in enumerate(shown.groups):
            if figure is None:
                assert len({groups[place] for groups in worlds}) > 1, (shown, worlds)


@given(GROUPS, MINIMUMS)
def test_no_small_group_is_shown_and_none_is_the_total_less_the_rest(
    groups: list[int], minimum: int
) -> None:
    shown = suppress(groups, minimum)
    assert not any(figure is not None and 0 < figure < minimum for figure in shown.groups)
    hidden = [place for place, figure in enumerate(shown.groups) if figure is None]
    if shown.total is not None and hidden:
        assert len(hidden) > 1
        assert len({groups[place] for place in hidden}) > 1


@given(GROUPS, MINIMUMS)
def test_what_is_shown_is_true_and_no_more_is_hidden_than_needed(
    groups: list[int], minimum: int
) -> None:
    shown = suppress(groups, minimum)
    assert shown.total in (None, sum(groups))
    for figure, count in zip(shown.groups, groups, strict=True):
        assert figure in (None, count)
    if all(count == 0 or count >= minimum for count in groups):
        assert shown == Shown(tuple(groups), sum(groups))
    kept = [count for count in groups if count >= minimum]
    assert sum(figure is not None and figure > 0 for figure in shown.groups) >= (
        len(kept) - kept.count(min(kept)) if kept else 0
    )


@given(GROUPS, MINIMUMS)
def test_the_order_of_groups_changes_nothing(groups: list[int], minimum: int) -> None:
    there = suppress(groups, minimum)
    back = suppress(groups[::-1], minimum)
    assert back == Shown(there.groups[::-1], there.total)


@given(GROUPS)
def test_a_minimum_of_one_hides_nothing(groups: list[int]) -> None:
    assert suppress(groups, 1) == Shown(tuple(groups), sum(groups))


@pytest.mark.parametrize(("groups", "minimum"), [([1], 0), ([1, 5], 2), ([-1], 10)])
def test_what_cannot_be_hidden_safely_is_refused(groups: list[int], minimum: int) -> None:
    with pytest.raises(ValueError, match="counted"):
        suppress(groups, minimum)
