"""Checks that a record found by its blind index is the one that was looked for.

The blind index is not bound to its row by the cipher, so an edited one could lead to
another value's token: what is found is opened and compared before its token is given
out (PCI-DSS 3.5.1).
"""

import hmac

from vault_service.domain.catalog import DataClass
from vault_service.domain.errors import IntegrityFailure
from vault_service.domain.tokens import TokenRecord
from vault_service.services.keys import Keyring


async def holds(
    keyring: Keyring, tenant: str, data_class: DataClass, record: TokenRecord, value: str
) -> bool:
    """Whether ``record`` is of this class and holds ``value`` (normalized); ``False``
    where it does not open at all. Raises ``key_unavailable``."""
    try:
        cipher = await keyring.decrypting(tenant, data_class, record.key_id)
        found = cipher.decrypt(record.ciphertext, record.token, record.tags)
    except IntegrityFailure:
        return False
    return record.data_class == data_class.name and hmac.compare_digest(
        found.encode(), value.encode()
    )
