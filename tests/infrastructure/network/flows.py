"""The declared flows, as the security groups of ``infra/terraform/modules/network`` name them.

They are read from the module itself, so that what passes in the test is what Terraform would
let pass. Three kinds: the table of flows between groups, clients that come in from networks
outside, and S3, which is a prefix list and no group.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import hcl2
from hcl2.utils import SerializationOptions

TERRAFORM: Final = Path(__file__).parents[3] / "infra" / "terraform"
NETWORK: Final = TERRAFORM / "modules" / "network"
CLIENTS: Final = "clients"
S3: Final = "s3"
_PLAIN: Final = SerializationOptions(
    with_comments=False, explicit_blocks=False, strip_string_quotes=True
)
_VARIABLE: Final = re.compile(r"\$\{var\.(\w+)\}")
_GROUP: Final = re.compile(r"""\$\{aws_security_group\.vault\["(\w+)"\]\.id\}""")
_SET: Final = re.compile(r"\$\{toset\((\[.*\])\)\}")


@dataclass(frozen=True, slots=True, order=True)
class Flow:
    """Connections that ``source`` may open to ``port`` of ``destination``."""

    source: str
    destination: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class Declared:
    """The groups with what each is, and the flows by name."""

    groups: dict[str, str]
    flows: dict[str, Flow]


def declared() -> Declared:
    """What the module says; :class:`ValueError` or :class:`KeyError` where it is not written
    in a way that can be read without Terraform."""
    document = blocks(NETWORK / "flows.tf")
    values = {name: value for each in document["locals"] for name, value in each.items()}
    rules = {
        (kind, name): body
        for each in document["resource"]
        for kind, named in each.items()
        for name, body in named.items()
    }
    flows = {
        name: Flow(flow["from"], flow["to"], "tcp", _port(flow["port"]))
        for name, flow in values["flows"].items()
    }
    client = rules["aws_vpc_security_group_ingress_rule", "client"]
    entrance = _matched(_GROUP, client["security_group_id"])
    flows[f"{CLIENTS}_to_{entrance}"] = Flow(CLIENTS, entrance, "tcp", _port(client["to_port"]))
    s3 = rules["aws_vpc_security_group_egress_rule", "s3"]
    for source in json.loads(_matched(_SET, values["flows_to_s3"])):
        flows[f"{source}_to_{S3}"] = Flow(source, S3, "tcp", _port(s3["to_port"]))
    return Declared(values["groups"], flows)


def rules_elsewhere() -> Iterator[str]:
    """Rules of security groups that the table does not know, as ``file: resource``."""
    known = {
        ("aws_vpc_security_group_egress_rule", "flow"),
        ("aws_vpc_security_group_egress_rule", "s3"),
        ("aws_vpc_security_group_ingress_rule", "client"),
        ("aws_vpc_security_group_ingress_rule", "flow"),
    }
    for path in sorted(TERRAFORM.rglob("*.tf")):
        if ".terraform" in path.parts:
            continue
        for each in blocks(path).get("resource", []):
            for kind, named in each.items():
                if "security_group" not in kind:
                    continue
                for name, body in named.items():
                    inline = {"ingress", "egress"} & body.keys()
                    rule = kind.endswith("_rule") and (kind, name) not in known
                    if inline or rule:
                        yield f"{path.relative_to(TERRAFORM)}: {kind}.{name}"


def blocks(path: Path) -> dict[str, Any]:
    """One file's blocks by type, strings without their quotes."""
    with path.open(encoding="utf-8") as file:
        document: dict[str, Any] = hcl2.load(file, serialization_options=_PLAIN)
    return document


def _port(value: int | str) -> int:
    if isinstance(value, int):
        return value
    name = _matched(_VARIABLE, value)
    for each in blocks(NETWORK / "variables.tf")["variable"]:
        if name in each:
            return int(each[name]["default"])
    raise KeyError(name)


def _matched(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.fullmatch(text)
    if found is None:
        raise ValueError(f"{text} is not written as this test can read it")
    return found[1]
