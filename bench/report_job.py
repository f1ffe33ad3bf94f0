"""The job of the report of ``bench/contacts``, on the settings of a job and the signed order on
standard input: ``python -m bench.report_job``. Prints how many rows it made."""

import sys

from bench.added_report import add_report
from reporting_jobs import settings, wiring


def main() -> None:
    add_report()
    outcome = wiring.runner(settings.load()).run(sys.stdin.read(), last=True)
    if outcome.state != "succeeded":
        raise SystemExit(f"the run {outcome.state}: {outcome.code}")
    print(outcome.rows)


if __name__ == "__main__":
    main()
