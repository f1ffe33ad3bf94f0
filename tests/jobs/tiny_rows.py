"""What the reports of the tests' own make: the values of the tokens of a class."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from reporting_jobs.context import Cell, Chart, Context, Output, Section


def make(context: Context) -> Output:
    return Output(_rows(context), lambda: [Section("All", chart=Chart("n", ["a"], [1]))])


def _rows(context: Context) -> Iterator[Sequence[Cell]]:
    behave = context.parameters.get("behave", "")
    if behave == "crash":
        raise ValueError("someone@example.com")
    done = 0
    for page in context.vault.tokens("email"):
        tokens = [entry.token for entry in page]
        values = context.vault.reveal(tokens, "plain")
        for token, value in zip(tokens, values, strict=True):
            yield (token, value) if behave != "ragged" else (token,)
            done += 1
        if behave == "wait":
            _wait_in(Path(os.environ["TINY_WAITS_IN"]))
        context.progress(done, None)


def _wait_in(folder: Path) -> None:
    """Tell that this process is in the middle of a run, until it is let go or killed."""
    (folder / f"waiting-{os.getpid()}").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
