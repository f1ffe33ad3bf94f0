"""Strongroom: a self-hosted, privacy-isolated vault for card and personal data.

Floors, from the top: ``cli`` and ``asgi`` → ``housekeeping`` (what a serving process does
beside answering) → ``bootstrap`` with ``bootstrap_database``, ``bootstrap_log`` and
``bootstrap_reports`` (the composition root) from ``settings``, which reads a
``configuration`` of which ``production`` says what is unsafe → ``api`` and ``adapters`` →
``services`` → ``domain``. ``client`` and ``verifier`` stand on ``domain`` alone. Beside them:
``draining`` (the orderly end of a process), ``memory`` (no core dumps), ``healthcheck`` (for
containers).
"""

__version__ = "0.1.0"
