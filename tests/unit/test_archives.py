"""Months, and the files that they are archived in."""

import os
import stat
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.adapters.archive_files import ArchiveFolder
from vault_service.domain.archives import Month
from vault_service.domain.events import new_event_id, time_of
from vault_service.services.archiving import not_due

MARCH = Month(date(2025, 3, 1))
TICK = timedelta(microseconds=1)


@given(st.datetimes(datetime(1971, 1, 1), datetime(9000, 1, 1), timezones=st.timezones()))
def test_a_moment_lies_in_its_month(at: datetime) -> None:
    month = Month.of(at)
    assert month.start <= at < month.end
    assert Month.of(month.end) == month.before(-1)
    assert Month.of(month.start - TICK) == month.before(1)


@given(st.integers(0, 400), st.integers(0, 400))
def test_months_are_counted(one: int, other: int) -> None:
    assert MARCH.before(one).before(other) == MARCH.before(one + other)
    assert MARCH.before(one).before(-one) == MARCH
    assert MARCH.before(12).first == date(2024, 3, 1)


def test_a_month_is_one_of_utc() -> None:
    assert Month.of(datetime(2025, 3, 1, 3, tzinfo=timezone(timedelta(hours=4)))) == MARCH.before(1)
    assert str(MARCH) == "2025-03"


@pytest.mark.parametrize("keep", [3, 12])
@given(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))
def test_what_is_younger_than_its_retention_is_kept(keep: int, at: datetime) -> None:
    """PCI-DSS 10.5.1."""
    now = at.replace(tzinfo=UTC)
    newest_that_goes = not_due(now, keep).start - TICK
    months = (now.year - newest_that_goes.year) * 12 + now.month - newest_that_goes.month
    assert months == keep + 1


def test_an_id_tells_its_time() -> None:
    before = datetime.now(UTC)
    told = time_of(new_event_id())
    after = datetime.now(UTC)
    assert before - timedelta(milliseconds=1) < told <= after
    assert time_of("evt_" + "0" * 26) == datetime(1970, 1, 1, tzinfo=UTC)
    assert time_of("evt_" + "z" * 26).year == 9999


def test_a_file_is_there_complete_and_private(tmp_path: Path) -> None:
    folder = ArchiveFolder(tmp_path / "a" / "b")
    assert folder.open(MARCH) is None
    os.umask(umask := os.umask(0))
    with folder.writing(MARCH) as stream:
        stream.write(b"x" * 100_000)
        stream.flush()
        assert folder.open(MARCH) is None
    os.umask(umask)
    file = folder.open(MARCH)
    assert file is not None
    with file:
        assert file.read() == b"x" * 100_000
        assert file.name == tmp_path / "a" / "b" / "audit-2025-03.ndjson"
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
    assert [each.name for each in (tmp_path / "a" / "b").iterdir()] == ["audit-2025-03.ndjson"]


def test_a_file_that_could_not_be_finished_is_not_there(tmp_path: Path) -> None:
    folder = ArchiveFolder(tmp_path)

    def write() -> None:
        with folder.writing(MARCH) as stream:
            stream.write(b"half")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_what_was_left_half_written_is_replaced_and_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    (tmp_path / ".audit-2025-03.ndjson.part").symlink_to(elsewhere)
    with ArchiveFolder(tmp_path).writing(MARCH) as stream:
        stream.write(b"new")
    assert elsewhere.read_text() == "mine"
    assert (tmp_path / "audit-2025-03.ndjson").read_text() == "new"
