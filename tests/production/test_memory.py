"""Core dumps are off in what runs beside the service: commands and report jobs."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.serving import ROOT

_SAYS: Final = """
import ctypes, resource
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), max(resource.getrlimit(resource.RLIMIT_CORE)))
"""
_COMMAND: Final = (
    "import atexit, sys\n"
    "from vault_service.cli.app import main\n"
    f"atexit.register(lambda: exec({_SAYS!r}, {{}}))\n"
    "sys.argv = ['strongroom', '--version']\n"
    "main()\n"
)
_JOB: Final = (
    "from reporting_jobs import handlers\n"
    "try:\n    handlers.pci_inventory({'source': 'aws.events', 'time': ''}, None)\n"
    f"except Exception: pass\nexec({_SAYS!r})\n"
)


@pytest.mark.parametrize("program", [_COMMAND, _JOB], ids=["command", "job"])
def test_a_process_that_may_hold_values_cannot_be_dumped(program: str, tmp_path: Path) -> None:
    """PCI-DSS 3.5.1, CWE-528: no core file, and no dump through a collector or a debugger."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("STRONGROOM_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**inherited, "STRONGROOM_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0 0", done.stderr
