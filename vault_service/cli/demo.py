"""``strongroom demo``: the main job on this machine, told as a story and checked.

What is told was done just now through the real service; where something does not hold,
the demo says so and exits with 1. Every value in it is invented.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from vault_service.cli import demo_data, demo_log, demo_reports, demo_warehouse
from vault_service.cli.audit import told
from vault_service.cli.demo_story import CASE, DoesNotHold, Story, end
from vault_service.cli.demo_vault import RunningVault, demo_environment, running_vault
from vault_service.cli.operation import log_to_stderr, stop
from vault_service.client import Client, RequestRefused, StrongroomError
from vault_service.client.files import Summary, tokenize_file
from vault_service.client.mapping import mapping_of
from vault_service.client.results import DetokenizeItem
from vault_service.client.scanning import ScanReport, scan_paths
from vault_service.domain.errors import Code, ConfigurationError, VaultError

_PRINCIPALS = ("warehouse-loader", "support-agent", "chargeback-service", "auditor")


def demo() -> None:
    """Show on this machine what Strongroom does, in a minute.

    Starts an embedded PostgreSQL, a local root key and the service in STRONGROOM_HOME
    (./.strongroom), on invented customers. Exit 0: all of it held; 1: something did not.
    """
    started = time.monotonic()
    try:
        # Missed here, before anything is started.
        import duckdb  # noqa: F401
        import reportlab  # noqa: F401

        from vault_service.cli import serving  # noqa: F401
        from vault_service.settings import load
    except ImportError as error:
        stop(
            f"The demo needs every part of Strongroom, and {error.name} is missing; run:"
            " pip install 'strongroom[server,reports,warehouse]'"
        )
    log_to_stderr()
    story = Story(Console(highlight=False, soft_wrap=True))
    try:
        settings = load(demo_environment())
        folder = settings.home / "demo"
        story.tell(
            "A vault of its own",
            f"Starting PostgreSQL, a local root key and the service in {settings.home}.",
        )
        _make(folder)
        with (
            running_vault(
                settings, folder / "service.log", (*_PRINCIPALS, *demo_reports.PRINCIPALS)
            ) as vault,
            _plaintext(folder) as plaintext,
        ):
            story.say(f"The service answers at {vault.url}. API keys are issued for one day to")
            story.say(f"{', '.join(_PRINCIPALS)}")
            story.say(f"{', '.join(demo_reports.PRINCIPALS)}; the vault keeps only their hashes.")
            _tour(story, vault, plaintext, folder)
    except DoesNotHold as error:
        typer.echo(f"\nThis did not hold: {error}", err=True)
        raise typer.Exit(1) from None
    except (ConfigurationError, StrongroomError) as error:
        stop(str(error))
    except VaultError as error:
        stop(error.detail)
    end(story, folder, time.monotonic() - started)


def _tour(story: Story, vault: RunningVault, plaintext: Path, folder: Path) -> None:
    url, keys = vault.url, vault.keys
    shop = demo_data.write_shop(plaintext)
    spent = demo_warehouse.load(None, shop.customers, shop.orders)
    with (
        Client(url, keys["warehouse-loader"]) as loader,
        Client(url, keys["support-agent"]) as agent,
        Client(url, keys["chargeback-service"]) as disputes,
        Client(url, keys["auditor"]) as auditor,
    ):
        story.tell(
            "Card numbers become tokens",
            f"An invented shop has {shop.cards:,} cards and {shop.order_count:,} orders, in two"
            " CSV files with every card number in plain sight.",
        )
        customers, orders = folder / "customers.parquet", folder / "orders.parquet"
        runs = (
            (shop.customers, ["card=pan", "name=person_name", "email=email"], customers),
            (shop.orders, ["card=pan"], orders),
        )
        for source, columns, target in runs:
            summary = tokenize_file(loader, source, mapping_of(columns), target)
            _check_run(summary)
            story.say(
                f"{source.name}: {summary.cells:,} values replaced by {summary.distinct:,} tokens"
                f" in {summary.seconds:.1f} s -> {target.name}"
            )
        tokenized = demo_warehouse.load(folder / "warehouse.duckdb", customers, orders)
        _compare(story, spent, tokenized)
        demo_log.keep(folder, auditor.audit_key(), auditor.audit_checkpoint())
        _scan(story, plaintext, folder)
        token, number = tokenized[0].card, spent[0].card
        events = _refuse(story, loader, agent, token, number)
        events.append(_permit(story, disputes, token, number))
        _audit(story, auditor, token, events)
        demo_log.verify_offline(
            story, folder, disputes.receipt(events[-1]), events[-1], vault.export_log
        )
        demo_reports.make_reports(story, vault, folder)
    _write_disputes(folder / "disputes.csv", [each.card for each in tokenized[:3]])


def _check_run(summary: Summary) -> None:
    if summary.rejected or summary.written != summary.rows:
        raise DoesNotHold("every row of the shop is tokenized")


def _compare(
    story: Story,
    spent: list[demo_warehouse.Spend],
    tokenized: list[demo_warehouse.Spend],
) -> None:
    story.tell(
        "The warehouse still answers",
        "Spend by card, orders joined with customers: asked of the plain files by card number,"
        " and of the DuckDB warehouse by token.",
    )
    table = Table("customer", "token of the card", "orders", "spend, plain", "spend, by token")
    for plain, token in zip(spent[:5], tokenized[:5], strict=True):
        table.add_row(
            token.customer, token.card, str(token.orders), f"{plain.amount:,}", f"{token.amount:,}"
        )
    story.show(table)
    if [each[:3] for each in spent] != [each[:3] for each in tokenized]:
        raise DoesNotHold("the warehouse gives the same figures by token as by card number")
    if len({each.card for each in tokenized}) != len(tokenized):
        raise DoesNotHold("every card has a token of its own")
    story.say(f"All {len(spent):,} cards give the same figures.")


def _scan(story: Story, plaintext: Path, folder: Path) -> None:
    story.tell(
        "Nothing to steal in the warehouse",
        "A scan looks for card numbers and personal data, in any writing.",
    )
    outputs = [folder / name for name in ("warehouse.duckdb", "orders.parquet")]
    before, after = scan_paths([plaintext]), scan_paths([*outputs, folder / "customers.parquet"])
    story.say(f"In the plain files: {_found(before)}.")
    story.say(f"In the warehouse and the files it was loaded from: {_found(after)}.")
    if not _cards(before):
        raise DoesNotHold("the scan finds card numbers where they are")
    if after.findings or after.unreadable or after.values == 0:
        raise DoesNotHold("the scan finds nothing in the warehouse")


def _found(report: ScanReport) -> str:
    counts: dict[str, int] = {}
    for each in report.findings:
        kind = each.finding.kind.value
        counts[kind] = counts.get(kind, 0) + each.finding.count
    listed = ", ".join(f"{count:,} of kind {kind}" for kind, count in sorted(counts.items()))
    return f"{listed or 'nothing'} in {report.values:,} values"


def _cards(report: ScanReport) -> int:
    return sum(f.finding.count for f in report.findings if f.column == "card")


def _refuse(story: Story, loader: Client, agent: Client, token: str, number: str) -> list[str]:
    story.tell("Policy decides who sees what", f"A customer calls about {token}.")
    masked = agent.detokenize_items([DetokenizeItem(token)], purpose="customer_support")
    shown = masked.items[0].value
    if shown is None or shown == number or not shown.endswith(number[-4:]):
        raise DoesNotHold("the support agent sees the card number masked")
    story.say(f"The support agent may see it masked: {shown}")
    events = list(masked.event_ids)
    for who, client, purpose in (
        ("The support agent", agent, "customer_support"),
        ("The loader that filled the warehouse", loader, "operations"),
    ):
        answer = _answer(client, token, purpose)
        why = client.explain("detokenize", "pan", purpose=purpose, form="plain")
        if answer != Code.ACCESS_DENIED or why.allowed:
            raise DoesNotHold(f"{who} is refused the whole card number")
        policies = ", ".join(why.policies) or "none permits it"
        story.say(f"{who} asks for all of it and is refused: {answer} ({policies}).")
    return events


def _answer(client: Client, token: str, purpose: str) -> str | None:
    """The error code with which the whole value is refused, ``None`` where it is not."""
    try:
        result = client.detokenize_items([DetokenizeItem(token, "plain")], purpose=purpose)
    except RequestRefused as refusal:
        return refusal.code
    error = result.items[0].error
    return None if error is None else error.code


def _permit(story: Story, disputes: Client, token: str, number: str) -> str:
    item = DetokenizeItem(token, "plain")
    try:
        answer = disputes.detokenize_items([item], purpose="chargeback", case=CASE)
    except RequestRefused:
        answer = None
    if answer is None or answer.items[0].value != number:
        raise DoesNotHold("the chargeback service gets the card number back")
    story.say(
        f"The chargeback service asks for purpose chargeback, case {CASE}, and gets the number:"
        f" {len(number)} digits, the same as in the shop's file (not shown here)."
    )
    return answer.event_ids[0]


def _audit(story: Story, auditor: Client, token: str, events: list[str]) -> None:
    story.tell(
        "And all of it is on record",
        f"The auditor, who can see no value at all, asks who did what to {token}:",
    )
    found = list(auditor.audit_events(token=token))
    newest = {event["id"]: event for event in found}
    for event in reversed(found[:7]):
        story.say(told(_only(event, token)))
    denied = {event["principal"] for event in found if event["outcome"] == "denied"}
    allowed = newest.get(events[-1], {})
    if denied != {"support-agent", "warehouse-loader"} or any(
        event not in newest for event in events
    ):
        raise DoesNotHold("every reveal and refusal of the token is in the audit log")
    if (allowed.get("purpose"), allowed.get("case")) != ("chargeback", CASE):
        raise DoesNotHold("the audit log says why the number was revealed")
    if not any(event["action"] == "tokenize" for event in found):
        raise DoesNotHold("the audit log knows who tokenized the card")


def _only(event: dict[str, Any], token: str) -> dict[str, Any]:
    """The event with what it says about this token alone."""
    groups = [
        {**group, "tokens": [token], "count": 1}
        for group in event["groups"]
        if token in group.get("tokens", ())
    ]
    return {**event, "groups": groups}


def _write_disputes(path: Path, tokens: list[str]) -> None:
    path.write_text("card\n" + "".join(f"{token}\n" for token in tokens), "utf-8")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be made ({os.strerror(error.errno or 0)}); choose another"
            " STRONGROOM_HOME."
        ) from None


@contextmanager
def _plaintext(folder: Path) -> Iterator[Path]:
    """A folder for the invented values in plain sight; gone when the block ends."""
    plaintext = folder / "plaintext"
    shutil.rmtree(plaintext, ignore_errors=True)
    plaintext.mkdir(mode=0o700)
    try:
        yield plaintext
    finally:
        shutil.rmtree(plaintext, ignore_errors=True)
