"""How the demo tells its story, and what it recommends in the end."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

CASE: Final = "CB-1042"
"""The dispute that the demo is about."""


class DoesNotHold(Exception):
    """Something that the demo promised did not come true."""


class Story:
    """Numbered chapters on standard output."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._chapter = 0

    def tell(self, title: str, opening: str) -> None:
        """Begin a chapter."""
        self._chapter += 1
        self._console.print(f"\n{self._chapter}. {title}", style="bold", markup=False)
        self.say(opening)

    def say(self, line: str) -> None:
        """One line of the chapter."""
        self._console.print(f"   {line}", markup=False)

    def show(self, table: Table) -> None:
        """A table, as wide as there is room for."""
        self._console.print(table, soft_wrap=False)


def end(story: Story, folder: Path, seconds: float) -> None:
    """The last chapter: what is left in ``folder`` and its home, and what to try next."""
    program, home = _program(), folder.parent
    story.tell(
        f"Done in {seconds:.0f} seconds",
        "The plain files are deleted and the demo's API keys revoked. Left behind:",
    )
    story.say(f"{folder}: warehouse.duckdb, the tokenized files, service.log,")
    story.say("and for the auditor: audit.ndjson, audit.vkey, kept.checkpoint, reveal.receipt")
    story.say("and for the reader: pci_inventory.pdf, with what it was sealed as (.sealed),")
    story.say("its signed manifest (.manifest), and reader.pem, the key that opens it")
    story.say(f"{home}: PostgreSQL's data and the root key (delete the folder to forget it all)")
    story.say("")
    story.say("Next, in one terminal:")
    moved = os.environ.get("STRONGROOM_HOME")
    prefix = [f"export STRONGROOM_HOME={shlex.quote(str(home))}"] if moved else []
    for line in [*prefix, f"{program} dev"]:
        story.say(f"  {line}")
    story.say("and in another:")
    place = folder if moved else folder.relative_to(Path.cwd())
    where, log = place / "disputes.csv", place / "audit.ndjson"
    for line in [
        *prefix,
        "export STRONGROOM_URL=http://127.0.0.1:8200",
        f"export STRONGROOM_TOKEN=$({program} principal issue-key chargeback-service)",
        f"{program} detokenize {shlex.quote(str(where))} --column card --form plain"
        f" --purpose chargeback --case {CASE} -o disputed.csv",
        f"{program} scan disputed.csv",
        f"{program} audit tail -n 5",
        f"{program} audit verify {shlex.quote(str(log))} --key"
        f" {shlex.quote(str(place / 'audit.vkey'))} --since"
        f" {shlex.quote(str(place / 'kept.checkpoint'))}",
        f"{program} report verify {shlex.quote(str(place / 'pci_inventory.pdf.sealed'))}"
        f" --manifest {shlex.quote(str(place / 'pci_inventory.pdf.manifest'))} --key"
        f" {shlex.quote(str(place / 'audit.vkey'))}",
        f"{program} policy explain --principal support-agent --action detokenize"
        " --data-class pan --form plain --purpose customer_support",
        f"{program} doctor",
    ]:
        story.say(f"  {line}")


def _program() -> str:
    """How this program can be called again from this shell."""
    beside = Path(sys.executable).parent / "strongroom"
    found = shutil.which("strongroom")
    if found is not None and Path(found) == beside:
        return "strongroom"
    if beside.exists():
        cwd = Path.cwd()
        return str(beside.relative_to(cwd) if beside.is_relative_to(cwd) else beside)
    return f"{sys.executable} -m vault_service"
