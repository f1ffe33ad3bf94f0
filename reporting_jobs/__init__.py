"""Report jobs, which are clients of the vault."""
