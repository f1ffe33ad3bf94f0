"""Report jobs, which are clients of the vault: they hold no database credential and no key,
and read every value through ``/v1/detokenize`` under a principal and purpose of their own.

- ``definitions``: finds the reports; ``reports``: one module a report
- ``context``: what a report is given, and what it gives back
- ``runner``: one run, from a signed order to a sealed output; ``lease``: keeps it meanwhile;
  ``failures``: the codes that it may end with
- ``outputs``: rows as pieces of a file; ``suppression``: which figures may be shown;
  ``byte_stream``: pieces of bytes
- ``recipients``, ``sealing``: who an output is for, and its sealing; ``stores``: where it is
  kept; ``places``: recipients' keys and inputs; ``manifest``: its verification, offline
- ``handlers``: entries of Lambda; ``queue``: messages of SQS; ``worker``: the same outside
  AWS; ``settings``, ``wiring``: from the environment to a runner
- ``people``, ``moments``, ``birth_dates``, ``name_forms``, ``name_index``,
  ``sanctions_list``, ``screening``: what several reports, or one that is large, stand on
"""
