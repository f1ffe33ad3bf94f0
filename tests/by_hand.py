"""The script of docs/verify-by-hand.md, taken from there and run as printed."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "verify-by-hand.md"


def save_script(directory: Path) -> Path:
    """The script, as a file in ``directory``."""
    [text] = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    path = directory / "verify_by_hand.py"
    path.write_text(text)
    return path


def run_script(script: Path, bundle: Path, key: str, kept: Path | None = None) -> int:
    """Its exit code for a bundle; it must not fail in any other way."""
    arguments = [sys.executable, "-I", str(script), str(bundle), key]
    if kept is not None:
        arguments.append(str(kept))
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode
