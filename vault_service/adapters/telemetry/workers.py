"""Lets the workers of one service count together.

Each worker writes its counts into a file of its own; whichever worker is asked for the
metrics adds them up. ``prometheus_client`` decides on this when it is first imported, so
the process that starts the workers calls :func:`share_metrics` before that, and the
workers inherit the decision.
"""

import os
import tempfile
from pathlib import Path
from typing import Final

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"


def share_metrics(parent: Path | None = None) -> Path:
    """Make a fresh private folder below ``parent`` (the system's place for temporary
    files by default) for the counts of this process and those it starts; the folder.

    The caller removes it when the service ends.
    """
    folder = Path(tempfile.mkdtemp(prefix="strongroom-metrics-", dir=parent))
    os.environ[VARIABLE] = str(folder)
    return folder


def shared_folder() -> Path | None:
    """Where the workers' counts are, ``None`` in a process that counts alone."""
    folder = os.environ.get(VARIABLE)
    return Path(folder) if folder else None
