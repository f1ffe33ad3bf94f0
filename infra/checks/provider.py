"""Where Terraform finds its AWS provider on this machine, without a path in any file.

Terraform's own configuration decides where there is one (``TF_CLI_CONFIG_FILE`` or
``~/.terraformrc``). Where there is none, a mirror that an administrator has unpacked beside
other add-on software is taken: a folder with ``registry.terraform.io/hashicorp/aws`` in it.
Where there is neither, Terraform asks its registry.
"""

import os
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

_LAYOUT: Final = "registry.terraform.io/hashicorp/aws"
_PLACES: Final = ("/opt", "/srv", "/usr/lib", "/usr/share", "/usr/local/lib", "/usr/local/share")
"""Where the Filesystem Hierarchy Standard 3.0 has add-on software."""
_CONFIGURATION: Final = """\
provider_installation {{
  filesystem_mirror {{
    path = "{mirror}"
  }}
}}
"""
HELP: Final = (
    "hand it over by a CLI configuration file (TF_CLI_CONFIG_FILE, or ~/.terraformrc) that names a"
    f" mirror, or unpack a mirror (a folder that holds {_LAYOUT}/VERSION) below /opt"
)


def configured(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether Terraform has a configuration of its own here."""
    named = environ.get("TF_CLI_CONFIG_FILE")
    return Path(named).is_file() if named else (Path.home() / ".terraformrc").is_file()


def mirror() -> Path | None:
    """The first mirror below the places for add-on software, or ``None``."""
    found = (path for place in _PLACES for path in Path(place).glob(f"*/{_LAYOUT}"))
    first = next(found, None)
    return None if first is None else first.parents[2]


@cache
def environment() -> dict[str, str]:
    """What to add to the environment of ``terraform`` so that it finds the provider."""
    added = {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
    place = None if configured() else mirror()
    if place is not None:
        descriptor, name = tempfile.mkstemp(prefix="terraform-", suffix=".tfrc")
        with os.fdopen(descriptor, "w") as file:
            file.write(_CONFIGURATION.format(mirror=place))
        added["TF_CLI_CONFIG_FILE"] = name
    return added
