"""The use cases: what the vault does, in which order. They know protocols, no adapter.

Of each request:

- ``authenticate``: a header into a principal; ``verification``: one credential by the rules
  of its kind; ``throttle``: failing callers wait
- ``authorize``: the one door to the policies
- ``tokenize`` with ``tokenize_groups``; ``detokenize``; ``lookup``; ``tokens`` (describe,
  delete); ``read_audit``
- ``items``: the items of batches and what became of each; ``context``: who asks, when
- ``idempotency``: the first answer again; ``found_records``: is it the record that was meant
- ``recording``: what an audit event holds

The log, and questions to it:

- ``sealing``: events into the signed tree; ``signed`` waits for it
- ``proofs``: receipts; ``export_audit`` with ``log_export``: bundles to verify offline
- ``timeline``: who handled a person's data
- ``backtest`` with ``backtest_events``, ``backtest_report``: recorded decisions against
  changed policies

Keys and operators:

- ``keys``: the right key for a tenant, class and purpose; ``key_making``, ``key_uses``,
  ``key_cache`` and ``key_digests`` beneath it
- ``principals``: API keys, issued, rotated and revoked
"""
