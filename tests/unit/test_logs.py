"""A log line holds a constant event and identifiers, whatever it is handed."""

import base64
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from vault_service.adapters.telemetry.logs import configure_logging
from vault_service.domain.sensitive import Sensitive

CANARY = "canary-3b1f7c"
CARD = "4111111111111111"


class _Carrier:
    """An object whose every spelling holds the canary."""

    def __repr__(self) -> str:
        return CANARY

    __str__ = __repr__


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """What is logged; every logging setting of this process is put back afterwards."""
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    configure_logging(stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers = handlers
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    text = out.getvalue()
    assert CANARY not in text
    assert base64.b64encode(CANARY.encode()).decode() not in text
    assert CARD not in text
    return [json.loads(line) for line in text.splitlines()]


def fail() -> None:
    local = CANARY
    try:
        int(local)
    except ValueError as error:
        raise KeyError(local) from error


def test_line_is_json_with_event_request_id_and_time(out: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="req_1"):
        structlog.get_logger("strongroom.api").info("started", workers=2)
    (line,) = lines(out)
    assert line.pop("at").endswith("Z")
    assert line == {
        "event": "started",
        "level": "info",
        "logger": "strongroom.api",
        "request_id": "req_1",
        "workers": 2,
    }


def test_exception_is_its_types_and_places_alone(out: io.StringIO) -> None:
    # OWASP ASVS 5 16.2.5
    try:
        fail()
    except KeyError:
        structlog.get_logger("strongroom.api").exception("unexpected_error")
    (line,) = lines(out)
    assert [found["type"] for found in line["exception"]] == ["KeyError", "ValueError"]
    assert line["exception"][0]["places"][-1].split(":")[1] == "fail"


def test_exception_group_is_followed(out: io.StringIO) -> None:
    group = ExceptionGroup(CANARY, [ValueError(CANARY)])
    structlog.get_logger().error("failed", exc_info=group)
    (line,) = lines(out)
    assert [found["type"] for found in line["exception"]] == ["ExceptionGroup", "ValueError"]


@pytest.mark.parametrize(
    "value",
    [
        _Carrier(),
        Sensitive(CANARY),
        {"a": CANARY},
        CANARY.encode(),
        [_Carrier()],
        ValueError(CANARY),
        CARD,
        int(CARD),
        f"card {CARD[:4]} {CARD[4:8]} {CARD[8:12]} {CARD[12:]} of a customer",
        ["ok", CARD],
    ],
)
def test_no_object_and_no_card_number_gets_in(out: io.StringIO, value: object) -> None:
    structlog.get_logger().warning("odd_argument", value=value)
    assert lines(out)[0]["event"] == "odd_argument"
    assert "4111 1111" not in out.getvalue()


def test_libraries_are_located_not_quoted(out: io.StringIO) -> None:
    message = "Task exception was never retrieved: " + CANARY
    logging.getLogger("asyncio").error(message)
    logging.getLogger("urllib3.connectionpool").warning("retry %s", CANARY)
    try:
        fail()
    except KeyError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application\n")
    logging.getLogger("uvicorn.error").info("Listening on %s", CANARY)
    found = lines(out)
    assert found[0]["event"] == "library_message"
    assert found[0]["place"].startswith("test_logs:test_libraries_are_located_not_quoted:")
    assert found[-2]["event"] == "Exception in ASGI application"
    assert found[-2]["exception"][0]["type"] == "KeyError"
    assert found[-1]["event"] == "Listening on %s"


def test_access_log_is_silent(out: io.StringIO) -> None:
    logging.getLogger("uvicorn.access").info('"GET %s" %d', f"/v1/tokens/{CANARY}", 200)
    assert lines(out) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_uncaught_exceptions_are_not_printed(
    out: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        fail()
    except KeyError as error:
        sys.excepthook(type(error), error, error.__traceback__)
        threading.excepthook(
            threading.ExceptHookArgs((type(error), error, error.__traceback__, None))
        )
    assert [line["event"] for line in lines(out)] == ["uncaught_exception"] * 2
    assert CANARY not in "".join(capfd.readouterr())


def test_stream_that_is_gone_fails_nothing(out: io.StringIO) -> None:
    out.close()
    structlog.get_logger().info("started")
    logging.getLogger("uvicorn.error").info("started")
