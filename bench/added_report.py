"""The report of ``bench/contacts``, before the one of the same name, in service and job."""

from pathlib import Path

from reporting_jobs import reports


def add_report() -> None:
    """Put it there, in this process."""
    reports.__path__.insert(0, str(Path(__file__).parent / "contacts"))
