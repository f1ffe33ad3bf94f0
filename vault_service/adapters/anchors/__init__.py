"""Anchors: where copies of signed checkpoints are kept, out of the database's reach.

- ``s3``: :class:`S3Anchor`, a bucket with Object Lock, where nobody can replace or delete
  them before their time (PCI-DSS 10.3.3, 10.3.4, 10.5.1).
- ``file``: :class:`FileAnchor`, a folder, for the embedded default.
- ``kept``: what both hold a new checkpoint against, and what they raise.

Both are :class:`~vault_service.domain.ports.Anchor`.
"""
