"""Report jobs, which are clients of the vault: they hold no database credential and no key,
and read every value through ``/v1/detokenize`` under a principal and purpose of their own.

- ``definitions``: finds the reports; ``reports``: one module a report
- ``job_vault``: the vault as making a run needs it
- ``context``: what a report is given, and what it gives back
- ``runner``: a run, or a part of one, from its signed order to its end; ``making``: its
  sealed output; ``lease``: keeps it meanwhile; ``failures``: how it may end otherwise
- ``outputs``: rows as pieces of a file; ``suppression``: small groups are not shown
- ``recipients``, ``sealing``: who an output is for, and its sealing; ``stores``: where it is
  kept; ``places``: recipients' keys and inputs; ``manifest``: its verification, offline
- ``handlers``: entries of Lambda; ``queue``: messages of SQS; ``worker``: the same outside
  AWS; ``settings``, ``wiring``: from the environment to a runner
- ``people``, ``moments``, ``byte_stream``: values by class and person, times, streams
- ``screening``: a person against a sanctions list (``sanctions_list``); ``name_forms``,
  ``name_index`` and ``birth_dates`` say how alike two people are
"""
