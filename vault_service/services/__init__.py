"""The use cases: what the vault does, in which order. They know protocols, no adapter.

Of each request:

- ``authenticate``: a header into a principal; ``verification``: one credential by the rules
  of its kind; ``throttle``: failing callers wait
- ``authorize``: the one door to the policies
- ``tokenize`` with ``tokenize_groups``; ``detokenize`` with
  ``detokenize_groups``; ``lookup``; ``tokens`` (describe,
  delete); ``read_audit``
- ``items``: the items of batches and what became of each; ``context``: who asks, when
- ``idempotency``: the first answer again; ``found_records``: is it the record that was meant
- ``recording``: what an audit event holds

The log, and questions to it:

- ``sealing``: events into the signed tree; ``signed`` waits for it; ``anchoring``: copies elsewhere
- ``proofs``: receipts; ``export_audit`` with ``log_export``: bundles to verify offline
- ``archiving`` with ``archive_check``: months past their retention, into files
- ``timeline``: who handled a person's data
- ``backtest`` with ``backtest_events``, ``backtest_report``: recorded decisions against
  changed policies

Reports:

- ``reports``: what there is, asking for runs, their output; ``report_requests``: what a
  request must be like
- ``report_approvals``: approving what was seen; ``report_rules``: what stands in a run's way
- ``report_jobs``: a run started, leased and finished by its job; ``report_parts``: cut into
  parts, each in turn; ``report_results``: what may be its output, and its end
- ``report_fence``: what a job may read; ``report_reads``: tokens without values
- ``report_runs``: the run as it stands, its report and its events

Keys and operators:

- ``keys``: the right key for a tenant, class and purpose; ``key_making``, ``key_uses``,
  ``key_cache`` and ``key_digests`` beneath it
- ``principals``: API keys, issued, rotated and revoked
"""
