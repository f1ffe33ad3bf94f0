"""PostgreSQL: tables, fences, the hot path, and a server of our own. Map:

- ``schema``: the tables; ``migrations``: what builds them; ``migrate``: brings a database there
- ``roles``: roles and logins; ``access``: who logs in, and who is refused; ``passwords``:
  where passwords come from
- ``engine``: connections under the service's role; ``failures``: driver errors, without
  their text
- ``token_store``: tokens and events as the use cases see them; ``commit_queue``: group
  commit; ``works``: what waits for it
- ``hot_path``: one statement each; ``transaction`` with ``insertion``: the careful way;
  ``calls``: what may be asked twice
- ``statements``, ``rows``, ``binary``: SQL, rows and arrays on their way in and out
- ``audit``: append events; ``audit_reader``, ``audit_stream``, ``subject_log``: find them,
  by token and subject through ``event_index``
- ``sealing_log``: the transparency log in the hands of its sealer; ``log_reader``: events
  with their leaves; ``log_statements``: the SQL of both; ``log_archives``: takes months off
- ``budgets``, ``idempotency``, ``keys``, ``credentials``: the other tables
- ``reports``: runs and approvals; ``report_parts``: parts of runs; ``token_ranges``: where a
  class is cut into them; ``report_tables``: the tables of these; ``columns``: kinds of columns
- ``holdings``: tokens and keys without values, in ``holding_pages``
- ``readiness``: can it serve now; ``inspection``: what ``strongroom doctor`` asks
- ``embedded``: the server in ``STRONGROOM_HOME``
"""
