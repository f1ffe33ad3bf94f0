"""Strongroom: a self-hosted, privacy-isolated vault for card and personal data.

Floors, from the top: ``cli`` and ``asgi`` → ``housekeeping`` (what a serving process does
beside answering) → ``bootstrap`` with ``bootstrap_log`` (the composition root) from
``settings`` → ``api`` and ``adapters`` → ``services`` → ``domain``. ``client`` and
``verifier`` stand on ``domain`` alone.
"""

__version__ = "0.1.0"
