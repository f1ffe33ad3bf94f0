"""Report jobs, which are clients of the vault: they hold no database credential and no key,
and read every value through ``/v1/detokenize`` under a principal and purpose of their own.

- ``definitions``: finds the reports; ``reports``: one module a report
- ``context``: what a report is given, and what it gives back
"""
