"""``strongroom policy``: check, test and question the policy files, without a service."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from vault_service.cli.policy_backtest import backtest
from vault_service.domain.access import ON_REPORTS, AccessRequest, Action, Candidate, ReportFacts
from vault_service.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from vault_service.adapters.policy_cases import CaseResult
    from vault_service.adapters.policy_files import PolicyBundle

app = typer.Typer(help="Check, test, explain, backtest the policies.", no_args_is_help=True)
app.command()(backtest)

_VARIABLE = "STRONGROOM_POLICY_DIR"
Directory = Annotated[
    Path, typer.Argument(envvar=_VARIABLE, help="The policy directory.", show_default=True)
]
DirectoryOption = Annotated[
    Path, typer.Option("--policies", envvar=_VARIABLE, help="The policy directory.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
_DEFAULT = Path("policies")


def _stop(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(2)


def _load(directory: Path) -> "PolicyBundle":
    """The bundle with the principals of every environment; exit 2 where there is none."""
    try:
        from vault_service.adapters.policy_files import load_bundle

        return load_bundle(directory, None)
    except ConfigurationError as error:
        _stop(str(error))


def _require_cedar() -> None:
    # The base install has this command but not the engine.
    try:
        import_module("vault_service.adapters.cedar")
    except ImportError:
        _stop("Cedar is not installed; run: pip install 'strongroom[server]'")


def _show(as_json: bool, answer: dict[str, Any], lines: list[str]) -> None:
    typer.echo(json.dumps(answer, indent=2) if as_json else "\n".join(lines))


@app.command()
def check(
    directory: Directory = _DEFAULT,
    environment: Annotated[
        str, typer.Option(envvar="STRONGROOM_ENV", help="The environment: dev, test or prod.")
    ] = "dev",
    as_json: AsJson = False,
) -> None:
    """Check that catalog, principals, policies and cases are sound and fit each other.

    Exit 0: sound. 1: something was found. 2: there is nothing to check.
    """
    _require_cedar()
    from vault_service.adapters.cedar_policies import Finding
    from vault_service.adapters.policy_check import validate
    from vault_service.adapters.policy_files import load_bundle

    if not directory.is_dir():
        _stop(f"{directory} is not a directory; name the policy directory or set {_VARIABLE}")
    answer: dict[str, Any] = {"directory": str(directory), "environment": environment}
    lines: list[str] = []
    try:
        bundle = load_bundle(directory, None)
        findings = validate(bundle)
        left_out = load_bundle(directory, environment).left_out
    except ConfigurationError as error:
        findings = [Finding("", 0, "load", str(error))]
    else:
        answer |= {
            "hash": bundle.hash,
            "data_classes": len(bundle.catalog.data_classes),
            "principals": len(bundle.principals) - len(left_out),
            "left_out": list(left_out),
        }
        lines += [
            f"{answer['data_classes']} data classes, {answer['principals']} principals",
            f"policy hash {bundle.hash}",
        ]
        lines += [f"left out in {environment}: {name}" for name in left_out]
    answer["findings"] = [
        {"file": f.file, "line": f.line, "rule": f.rule, "detail": f.detail} for f in findings
    ]
    for finding in findings:
        place = f"{finding.file}:{finding.line}: " if finding.file else ""
        lines.append(f"{place}{finding.rule}: {finding.detail}")
    lines.append(f"{len(findings)} found" if findings else "The policies are sound.")
    _show(as_json, answer, lines)
    raise typer.Exit(1 if findings else 0)


@app.command("test")
def run_cases_of(directory: Directory = _DEFAULT, as_json: AsJson = False) -> None:
    """Ask the policies every case in DIRECTORY/cases and compare the answers.

    Exit 0: all as expected. 1: some differ, or there is no case. 2: files unusable.
    """
    _require_cedar()
    from vault_service.adapters.cedar import CedarEngine
    from vault_service.adapters.policy_cases import load_cases, run_cases, undecided

    bundle = _load(directory)
    try:
        engine = CedarEngine(bundle)
        results = run_cases(engine, load_cases(bundle))
    except ConfigurationError as error:
        _stop(str(error))
    failed = [result for result in results if not result.passed]
    untested = undecided(engine.policies, results)
    lines = [_difference(result) for result in failed]
    lines += [f"no case is decided by the policy {name}" for name in untested]
    lines.append(f"{len(results)} cases, {len(failed)} differ" if results else "There is no case.")
    answer = {
        "cases": len(results),
        "failed": [
            {
                "name": result.case.name,
                "file": result.case.file,
                "expected": _decision(result.case.expected),
                "actual": _decision(result.actual),
            }
            for result in failed
        ],
        "untested_policies": untested,
    }
    _show(as_json, answer, lines)
    raise typer.Exit(1 if failed or not results else 0)


def _decision(decision: Any) -> dict[str, Any]:
    return {
        "decision": "allow" if decision.allowed else "deny",
        "policies": list(decision.policies),
        "errors": list(decision.errors),
    }


def _difference(result: "CaseResult") -> str:
    def words(decision: Any) -> str:
        by = ", ".join(decision.policies) or "no policy"
        failing = f", failing: {', '.join(decision.errors)}" if decision.errors else ""
        return f"{'allow' if decision.allowed else 'deny'} by {by}{failing}"

    case = result.case
    return f"{case.file}: {case.name}: expected {words(case.expected)}; got {words(result.actual)}"


@app.command()
def explain(
    principal: Annotated[str, typer.Option(help="Who asks, as in principals.yml.")],
    action: Annotated[Action, typer.Option(help="What for.")],
    data_class: Annotated[str | None, typer.Option(help="Of which class the values are.")] = None,
    form: Annotated[str | None, typer.Option(help="masked, plain, …")] = None,
    purpose: Annotated[str | None, typer.Option(help="Why, as in catalog.yml.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag of the token: name=value.")] = None,
    item_count: Annotated[int, typer.Option(min=1, help="How many items.")] = 1,
    budget_left: Annotated[int | None, typer.Option(min=0, help="Tokens left to reveal.")] = None,
    at: Annotated[datetime | None, typer.Option(help="When, in UTC; now by default.")] = None,
    report: Annotated[str | None, typer.Option(help="The report that is run or approved.")] = None,
    requester: Annotated[str | None, typer.Option(help="Who asked for the run to approve.")] = None,
    directory: DirectoryOption = _DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Say how the policies answer one request, and which of them decide. Reveals nothing."""
    _require_cedar()
    from vault_service.adapters.cedar import CedarEngine

    bundle = _load(directory)
    if principal not in bundle.principals:
        _stop("principals.yml has no such principal")
    if data_class is not None and data_class not in bundle.catalog.data_classes:
        _stop("catalog.yml has no such data class")
    if purpose is not None and purpose not in bundle.catalog.purposes:
        _stop("catalog.yml has no such purpose")
    asked = bundle.catalog.data_classes[data_class] if data_class is not None else None
    if asked is not None and form is not None and form not in asked.forms:
        _stop(f"{asked.name} has the forms {', '.join(asked.forms)}")
    tags = dict(_name_and_value(text) for text in tag or [])
    if action is Action.DETOKENIZE and form is None:
        form = "masked"
    if (action in ON_REPORTS) != (report is not None):
        _stop("name a --report for run_report and approve_report, and for no other action")
    facts = None if report is None else _facts(report, requester)
    try:
        explanation = CedarEngine(bundle).explain(
            AccessRequest(
                principal=bundle.principals[principal],
                action=action,
                data_class=data_class,
                class_tags=asked.tags if asked is not None else frozenset(),
                token_tags=tuple(sorted(tags.items())),
                purpose=purpose,
                form=form,
                item_count=item_count,
                budget_left=budget_left,
                at=(at or datetime.now(UTC)).replace(microsecond=0, tzinfo=UTC),
                report=facts,
            )
        )
    except ConfigurationError as error:
        _stop(str(error))
    decision = explanation.decision
    sources = [{"id": s.id, "file": s.file, "line": s.line} for s in explanation.sources]
    candidates = [_candidate(each) for each in explanation.candidates]
    lines = ["allow" if decision.allowed else "deny"]
    lines += [f"  by {s.id} ({s.file}:{s.line})" for s in explanation.sources]
    lines += [f"  because {name} could not be evaluated" for name in decision.errors]
    if not decision.policies and not decision.errors:
        lines.append("  because no policy permits it")
    if decision.allowed and form is not None:
        lines.append(f"  in the form {form}")
    if budget_left is not None:
        lines.append(f"  with {budget_left} tokens left to reveal")
    if explanation.candidates:
        lines.append("other policies on it:")
    lines += [f"  {_told(each)}" for each in explanation.candidates]
    answer = _decision(decision) | {
        "form": form,
        "budget_left": budget_left,
        "sources": sources,
        "candidates": candidates,
    }
    _show(as_json, answer, lines)


def _facts(report: str, requester: str | None) -> ReportFacts:
    from reporting_jobs.definitions import definitions

    definition = definitions().get(report)
    if definition is None:
        _stop("there is no such report; `strongroom report list` names them")
    return definition.facts(requester=requester)


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return asdict(candidate.source) | {
        "effect": candidate.effect,
        "unmatched": list(candidate.unmatched),
        "condition": candidate.kind,
        "clause": candidate.clause,
        "part": candidate.part,
        "text": candidate.condition,
    }


def _told(candidate: Candidate) -> str:
    if candidate.unmatched:
        why = f"its scope has another {', '.join(candidate.unmatched)}"
    elif candidate.kind == "when":
        why = f"when {candidate.clause}, part {candidate.part} is false: {candidate.condition}"
    elif candidate.kind == "unless":
        why = f"unless {candidate.clause} is true: {candidate.condition}"
    else:
        why = "it applies, and a forbid outweighs it"
    source = candidate.source
    return f"{candidate.effect} {source.id} ({source.file}:{source.line}): {why}"


def _name_and_value(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        _stop("write --tag name=value")
    return name, value
