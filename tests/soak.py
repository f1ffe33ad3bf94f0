"""How often the kill, fault, fuzz and model tests repeat what they do.

``make test`` runs them with small counts, ``make soak`` with the large ones.
"""

import os

LONG = os.environ.get("STRONGROOM_SOAK") == "1"


def times(few: int, many: int) -> int:
    """``few`` in an ordinary run, ``many`` in a soak."""
    return many if LONG else few
