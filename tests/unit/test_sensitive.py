"""A wrapped value shows itself nowhere but where it is asked to."""

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.domain.sensitive import Sensitive

CANARY = "canary-4111111111111111"


@given(st.text())
def test_a_value_comes_back_as_it_went_in(value: str) -> None:
    assert Sensitive(value).reveal() == value


@given(st.text(max_size=5), st.text(max_size=5))
def test_wrapped_values_are_equal_when_their_values_are(first: str, second: str) -> None:
    assert (Sensitive(first) == Sensitive(second)) is (first == second)


def test_a_wrapped_value_equals_no_bare_string() -> None:
    assert Sensitive(CANARY) != CANARY


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        ascii,
        "{}".format,
        "{:>40}".format,
        "{!r}".format,
        lambda value: f"{value}",
        lambda value: f"{value=}",
        lambda value: "%s %r" % (value, value),  # noqa: UP031  old formatting must not leak either
        lambda value: repr([value]),
        lambda value: repr({"value": value}),
        lambda value: repr(ValueError(value)),
        lambda value: str(dir(value)),
    ],
)
def test_no_way_of_printing_shows_the_value(show: Callable[[Sensitive], str]) -> None:
    assert CANARY not in show(Sensitive(CANARY))


def test_no_log_line_shows_the_value(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("value %s", Sensitive(CANARY))
    assert caplog.messages == ["value Sensitive(…)"]


def test_no_traceback_shows_the_value() -> None:
    def fail(value: Sensitive) -> None:
        raise ValueError(value)

    try:
        fail(Sensitive(CANARY))
    except ValueError as error:
        report = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert CANARY not in "".join(report.format())
    else:
        pytest.fail("nothing was raised")


@pytest.mark.parametrize(
    "leak",
    [
        hash,
        vars,
        len,
        iter,
        bytes,
        sorted,
        json.dumps,
        msgspec.json.encode,
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        lambda value: value < Sensitive(CANARY),
        lambda value: value + "",
        lambda value: {value},
    ],
)
def test_what_would_copy_or_compare_the_value_is_refused(leak: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError) as refusal:
        leak(Sensitive(CANARY))
    assert CANARY not in str(refusal.value)
