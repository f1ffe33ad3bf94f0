"""Names that only AWS gives, invented, so that a plan of something new is known to the end.

A plan from zero cannot know the ARN of a key that it is going to make, nor anything that is
made of it: what containers are started with, whole policies. So the plan is made again,
against a state in which keys and the database are there already, as the plan before has them,
under invented names. Nothing is applied, and nothing is asked of AWS.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

_VERSION: Final = 4
"""Of Terraform's state format."""
_PROVIDER: Final = 'provider["registry.terraform.io/hashicorp/aws"]'
_ACCOUNT: Final = "arn:aws:{service}:eu-west-1:111122223333:{name}"
ROUNDS: Final = (("aws_kms_key",), ("aws_kms_key", "aws_rds_cluster"))
"""What is there in each round: a database cannot be there before the key that it names."""


def state_of(plan: Mapping[str, Any], types: Collection[str]) -> dict[str, Any]:
    """A state with the resources of these types of a plan in JSON."""
    resources: dict[tuple[str, str, str], dict[str, Any]] = {}
    for change in plan["resource_changes"]:
        kind = change["type"]
        if kind not in types or change["mode"] != "managed" or not change["change"]["after"]:
            continue
        key = (change.get("module_address", ""), kind, change["name"])
        resource = resources.setdefault(
            key,
            {
                **({"module": key[0]} if key[0] else {}),
                "mode": "managed",
                "type": kind,
                "name": change["name"],
                "provider": _PROVIDER,
                "instances": [],
            },
        )
        planned = dict(change["change"]["after"])
        if kind == "aws_kms_key":
            # Were a policy there, a plan would keep it where none is configured.
            planned["policy"] = None
        attributes = {**planned, **_invented(kind, planned, change["address"])}
        instance: dict[str, Any] = {"schema_version": 0, "attributes": attributes}
        if "index" in change:
            instance["index_key"] = change["index"]
        resource["instances"].append(instance)
    return {
        "version": _VERSION,
        "terraform_version": plan["terraform_version"],
        "serial": 1,
        "lineage": "invented",
        "outputs": {},
        "resources": list(resources.values()),
    }


def write(plan: Mapping[str, Any], types: Collection[str], path: Path) -> None:
    """Write that state to a file."""
    path.write_text(json.dumps(state_of(plan, types)))


def _invented(kind: str, planned: Mapping[str, Any], address: str) -> dict[str, Any]:
    digest = hashlib.sha256(address.encode()).hexdigest()
    if kind == "aws_kms_key":
        parts = (digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32])
        name = "-".join(parts)
        arn = _ACCOUNT.format(service="kms", name=f"key/{name}")
        return {"id": name, "key_id": name, "arn": arn}
    name = planned["cluster_identifier"]
    return {
        "id": name,
        "arn": _ACCOUNT.format(service="rds", name=f"cluster:{name}"),
        "cluster_resource_id": f"cluster-{digest[:24].upper()}",
        "endpoint": f"{name}.cluster-{digest[:12]}.eu-west-1.rds.amazonaws.com",
        "port": 5432,
        "availability_zones": ["eu-west-1a", "eu-west-1b", "eu-west-1c"],
    }
