"""What the programs in namespaces have in common: commands come in as JSON, a line each,
and answers go out the same way. The program ends with its standard input, so that whatever
happens to the test, nothing of it is left."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any


def answer(commands: Mapping[str, Callable[..., Any]]) -> None:
    """Say that the program is there, then run the command that each line names, with the
    line's arguments, until there is none."""
    _say("ready")
    for line in sys.stdin:
        request = json.loads(line)
        _say(commands[request["command"]](**request["arguments"]))


def _say(result: object) -> None:
    sys.stdout.write(json.dumps({"result": result}) + "\n")
    sys.stdout.flush()
