"""Wrapping keys: where the keys that encrypt data keys live.

- ``aws``: :class:`AwsKmsWrapper`, a wrapping key in AWS KMS.
- ``local``: :class:`UnsafeLocalRootKey`, a root key in a file; refused in production.
- ``service``: KMS in a key's region, with what its refusals mean.
- ``envelope``: the AWS Encryption SDK message both produce, and its encryption context.
- ``measured``: :class:`MeasuredWrapper`, another wrapper with every call counted.

All are :class:`~vault_service.domain.ports.KeyWrapper`. Unwrapped keys are cached in
``services/key_cache.py``, not here: what is cached is the cipher made from the key, and
caching both would double the places where a plaintext key lives.
"""
