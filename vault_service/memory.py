"""Keeps the memory of this process, and with it keys and values, where it is.

For every process that may hold a plaintext: the service and its workers, the commands, the
report jobs. Stands on the standard library alone.
"""

import ctypes
import sys
from typing import Final

from vault_service.domain.errors import ConfigurationError

_PR_SET_DUMPABLE: Final = 4


def forbid_core_dumps() -> None:
    """Keep this process's memory off the disk and from other processes of the same user
    (PCI-DSS 3.5.1, CWE-528): no core file (``RLIMIT_CORE``), no dump by a collector and no
    debugger (``PR_SET_DUMPABLE``). Processes that it starts inherit the first alone.

    :class:`ConfigurationError` where the system does not allow it.
    """
    if sys.platform == "win32":
        return
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except OSError:
        raise ConfigurationError(
            "Core dumps cannot be switched off here; allow setrlimit(RLIMIT_CORE) to this process."
        ) from None
    # A core pattern that pipes to a collector ignores the limit.
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise ConfigurationError(
            "Core dumps cannot be switched off here; allow prctl(PR_SET_DUMPABLE) to this process."
        )
