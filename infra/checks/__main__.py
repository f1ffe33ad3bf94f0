"""``python -m infra.checks [STEP…]``: what ``make infra-check`` runs.

Each step prints one line, and a finding a line below it: the rule, where, and the mend. Exit
0 when every step holds, 1 when one does not, 2 on wrong usage.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Final

from infra.checks import steps
from infra.checks.findings import CannotCheck

_HELD: Final = 0
_BROKEN: Final = 1


def main() -> int:
    """Run the steps that the command line names, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m infra.checks", description=__doc__)
    parser.add_argument("step", nargs="*", metavar="STEP", help=", ".join(steps.STEPS))
    parser.add_argument(
        "--terraform",
        type=Path,
        default=steps.SOURCE,
        metavar="FOLDER",
        help="modules and roots to check, instead of infra/terraform",
    )
    parser.add_argument(
        "--plan", type=Path, metavar="FILE", help="judge this plan (terraform show -json)"
    )
    parser.add_argument(
        "--write", action="store_true", help="make the SBOM and the licence list anew, no more"
    )
    arguments = parser.parse_args()
    if arguments.write:
        steps.write()
        return _HELD
    unknown = [name for name in arguments.step if name not in steps.STEPS]
    if unknown:
        parser.error(f"no such step: {', '.join(unknown)}")
    subject = steps.Subject(arguments.terraform.absolute(), arguments.plan)
    held = [_hold(name, subject) for name in arguments.step or steps.STEPS]
    return _HELD if all(held) else _BROKEN


def _hold(name: str, subject: steps.Subject) -> bool:
    started = time.monotonic()
    try:
        outcome = steps.STEPS[name](subject)
        looked_at, lines = outcome.looked_at, [str(each) for each in outcome.findings]
    except CannotCheck as error:
        looked_at, lines = "could not be checked", [str(error)]
    verdict = "FAIL" if lines else "ok"
    print(f"{verdict:4} {name}: {looked_at} ({time.monotonic() - started:.0f} s)", flush=True)
    for line in lines:
        print(f"     {line}", flush=True)
    return not lines


if __name__ == "__main__":
    sys.exit(main())
