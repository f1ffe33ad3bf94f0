"""The production root's plan, made once for all tests that look at it."""

from typing import Any

import pytest

from tests.infrastructure import terraform


@pytest.fixture(scope="session")
def production_plan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The plan of ``infra/terraform/examples/production``, in Terraform's JSON format."""
    return terraform.production_plan(terraform.copied(tmp_path_factory.mktemp("production")))
