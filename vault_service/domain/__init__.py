"""What the vault knows by itself: rules, formats and words, without any I/O.

Stands on the standard library, msgspec, cryptography and validation libraries. Map:

- ``errors``: the error taxonomy, stable codes with constant texts
- ``sensitive``: the wrapper that keeps a value out of logs and reprs
- ``principals``, ``access``: who calls; the question put to the policies and its answer
- ``credentials``: the API key format, what is stored of a key, the ports around them
- ``catalog``: data classes, purposes, token formats, sensitivity domains
- ``validation``, ``masking``: a value's canonical form; how much of it a form shows;
  ``card_batches``: whether all of a batch are card numbers in it
- ``luhn``: the check digit; ``sad``: sensitive authentication data, which is refused
- ``detection``: what a scan looks for, and what may not stand in clear; with
  ``detection_cards``, ``detection_personal``, ``detection_columns`` and ``detection_text``
- ``metadata``: the check of every text and tag that is kept in clear
- ``tokens``: token formats, batches to store, stored records
- ``ciphertext``: the encrypted record and what it is bound to
- ``events``: audit events and their canonical bytes
- ``merkle``, ``tiles``: the transparency log's tree, its proofs, and how it is stored
- ``notes``, ``checkpoints``, ``log_proofs``: signed notes, tree heads, receipts (C2SP)
- ``bundle``: the lines of an export of the log, to be verified offline
- ``archives``: months of the log that leave the database
- ``transparency``: what the log needs from storage, as protocols
- ``review`` with ``review_counts``, ``review_grants``, ``review_report``: rights and their
  use, counted from events
- ``reports``: what a report is; ``report_runs``: what a run is, and what an approval binds;
  ``report_parts``: how a run splits; ``report_notes``: signed orders and manifests;
  ``report_failures``: why a job cannot make one
- ``holdings``: what is told of stored tokens without a value; ``rights``: what a review is
  told of policies and principals
- ``columns``: names in Arrow bodies, shared with the client
- ``report_ports``: what reports need from outside, as protocols
- ``ports``: what the use cases need from outside, as protocols
"""
