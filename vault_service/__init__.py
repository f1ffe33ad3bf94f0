"""Strongroom: a self-hosted, privacy-isolated vault for card and personal data."""

__version__ = "0.1.0"
