"""Signing keys: what signs the checkpoints of the audit log.

- ``aws``: :class:`KmsSigningKey`, a key in AWS KMS that never leaves it.
- ``local``: :class:`UnsafeLocalSigningKey`, a key in a file; refused in production.

Both are :class:`~vault_service.domain.ports.CheckpointSigner`, and make ASN.1 DER ECDSA
signatures on P-256 over SHA-256 (C2SP signed-note, type 0x02).
"""
