"""The command line. Map of the package:

- ``app``: the ``strongroom`` command, its exit codes, and what becomes of errors
- ``operation``: what the operator's commands share: the services, who operates
- ``service``: dev, serve, db; ``serving``: the server processes beneath them,
  ``protocol``: the limit on a request's head
- ``demo``: the guided tour; ``demo_vault`` runs a service for it, ``demo_data`` makes its
  customers and orders, ``demo_warehouse`` is its DuckDB, ``demo_log`` verifies its log,
  ``demo_reports`` makes and opens two reports, ``demo_story`` tells it
- ``principals``, ``keys``, ``policy``, ``policy_backtest``, ``subjects``: administration
- ``audit``: the log read from the database; ``audit_review``: rights and their use;
  ``audit_export``: bundles, receipts, checkpoints, the key
- ``audit_archive``: months past their retention, into files
- ``audit_verify``: the check of an export of the log, without the service
- ``reports``: reports for people; ``report_texts``: how they are told; ``report_files``:
  sealed outputs, opened and verified; ``report_worker``: jobs outside AWS
- ``doctor``: is this installation sound; ``doctor_checks`` asks, ``doctor_database`` and
  ``doctor_log`` what concerns these
- ``files``, ``scan``: files through the vault, and what escaped it

All but ``serving``, ``protocol`` and ``doctor_*`` import with the base install alone; what
belongs to the server is imported inside the command.
"""
