"""Report jobs, which are clients of the vault: they hold no database credential and no key,
and read every value through ``/v1/detokenize`` under a principal and purpose of their own.

The package is empty in this release; its place among the floors is already held.
"""
