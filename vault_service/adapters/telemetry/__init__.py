"""What the running service tells about itself, and never a value in any of it.

- ``logs``: JSON lines; constant event names and identifiers (structlog, standard logging)
- ``metrics``: Prometheus counters with bounded labels, over any number of workers
- ``workers``: lets the workers of one service share their metrics; imported before ``metrics``
- ``traces``: OpenTelemetry spans through FastAPI's own hooks, by route template
"""
