"""The guide to writing policies shows policies, principals and cases that load."""

import re
from dataclasses import replace
from pathlib import Path

from vault_service.adapters.cedar import CedarEngine
from vault_service.adapters.policy_check import validate
from vault_service.adapters.policy_files import load_bundle, load_principals

ROOT = Path(__file__).parents[2]
BUNDLE = load_bundle(ROOT / "policies", None)
GUIDE = (ROOT / "docs" / "policies.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def test_the_policies_of_the_guide_are_sound() -> None:
    examples = "\n".join(blocks("cedar"))
    engine = CedarEngine(replace(BUNDLE, policies_text={"guide.cedar": examples}))
    assert len(engine.policies) == 2
    bundle = replace(
        BUNDLE, policies_text={"guide.cedar": examples}, directory=ROOT / "docs" / "none"
    )
    assert validate(bundle) == []


def test_the_principal_and_the_case_of_the_guide_load(tmp_path: Path) -> None:
    principal, case = blocks("yaml")
    tags = "tags: {team: [payments], clearance: [pci], duty: [disputes]}\nprincipals:\n"
    loaded, _ = load_principals((tags + principal).encode(), BUNDLE.catalog)
    assert loaded["chargeback-service"] == BUNDLE.principals["chargeback-service"]
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "guide.yml").write_text(case)
    assert validate(replace(BUNDLE, directory=tmp_path)) == []
