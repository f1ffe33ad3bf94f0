"""The production root's plan, made once for all tests that look at it."""

from typing import Any

import pytest

from infra.checks import terraform


@pytest.fixture(scope="session")
def production_plan() -> dict[str, Any]:
    """The plan of ``infra/terraform/examples/production``, in Terraform's JSON format."""
    with terraform.copy() as copied:
        return terraform.production_plan(copied)
