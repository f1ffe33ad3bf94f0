"""The offline verifier: does this bundle, or this receipt, come from the log of this key?

Asks no network, database or cloud, and stands on the domain, the standard library,
msgspec and cryptography alone. Trusts the key it is given and, where there is one, the
checkpoint that the auditor kept; nothing else. Map:

- ``bundles``: reads a bundle once, line by line, and reports
- ``events``: each event against its leaf; ``told``: what an event says of itself
- ``tree``: the leaves against the signed checkpoints and the kept one
- ``seen``: which event ids were seen, in a few bytes each
- ``receipts``: a single event's proof
- ``findings``: what can be wrong, and what follows; ``summary``: a report in words
"""
