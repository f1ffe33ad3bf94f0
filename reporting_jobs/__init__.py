"""Report jobs, which are clients of the vault: they hold no database credential and no key,
and read every value through ``/v1/detokenize`` under a principal and purpose of their own.

- ``definitions``: finds the reports; ``reports``: one module a report
- ``context``: what a report is given, and what it gives back
- ``people``, ``moments``, ``byte_stream``: values by class and person, times, streams
- ``suppression``: small groups are not shown
- ``screening``: a person against a sanctions list (``sanctions_list``); ``name_forms``,
  ``name_index`` and ``birth_dates`` say how alike two people are
"""
