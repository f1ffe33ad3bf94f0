"""Names that only AWS gives, invented, so that a plan of something new is known to the end.

A plan from zero cannot know the ARN of a key that it is going to make, nor anything that is
made of it: what containers are started with, whole policies. So the plan is made a second
time, against a state in which keys and secrets are there already, as the first plan has them,
under invented names. Nothing is applied, and nothing is asked of AWS.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_VERSION: Final = 4
"""Of Terraform's state format."""
_PROVIDER: Final = 'provider["registry.terraform.io/hashicorp/aws"]'
_ACCOUNT: Final = "arn:aws:{service}:eu-west-1:111122223333:{name}"
TYPES: Final = ("aws_kms_key", "aws_secretsmanager_secret")


def state_of(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A state with the keys and secrets of a plan in JSON."""
    resources: dict[tuple[str, str, str], dict[str, Any]] = {}
    for change in plan["resource_changes"]:
        kind = change["type"]
        if kind not in TYPES or change["mode"] != "managed" or not change["change"]["after"]:
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
        # No policy: were one there, a plan would keep it where none is configured.
        planned = {**change["change"]["after"], "policy": None}
        attributes = {**planned, **_invented(kind, change["address"])}
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


def write(plan: Mapping[str, Any], path: Path) -> None:
    """Write that state to a file."""
    path.write_text(json.dumps(state_of(plan)))


def _invented(kind: str, address: str) -> dict[str, str]:
    digest = hashlib.sha256(address.encode()).hexdigest()
    if kind == "aws_kms_key":
        parts = (digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32])
        name = "-".join(parts)
        arn = _ACCOUNT.format(service="kms", name=f"key/{name}")
        return {"id": name, "key_id": name, "arn": arn}
    arn = _ACCOUNT.format(service="secretsmanager", name=f"secret:{digest[:12]}-AbCdEf")
    return {"id": arn, "arn": arn}
