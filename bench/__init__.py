"""Benchmarks: what the vault costs beside PostgreSQL alone, as ratios of one run.

- ``run``      the command behind ``make bench``: runs all, prints and writes the figures
- ``floor``    PostgreSQL through psycopg alone: the same rows, no vault
- ``figures``  what was measured; ``report`` and ``log_report`` make the document of it
- ``growth``   a large table beside a small one
- ``sealer``   the service without its sealer, and how fast that catches up
- ``history``  a large audit log, of the events that ``traffic`` makes up
- ``proofs``   proofs, exports and their verification; ``searches`` finds events in the log
- ``backtest`` recorded decisions replayed against changed policies
- ``load``     a small HTTP load generator
- ``pinned``   a command in a process of its own, on one core, with its peak memory
- ``service``  the real service on a database of its own
- ``values``   synthetic card numbers
- ``report_runs`` a report over many tokens, by ``report_job`` on the service of
  ``report_service``, which know the report in ``contacts``; ``job_report`` tells
- ``cold_start``  of the lightest function, through Lambda's runtime client
- ``sanctions_screening``  recall, precision and speed of that report; run by itself
- ``sizes``    bytes that a token and a request take; run by itself
- ``capacity`` the tables of docs/capacity.md, computed of what was measured; run by itself
"""
