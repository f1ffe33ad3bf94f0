"""A core service: a program in its host's namespace that calls the vault through the entrance.

Takes the address, the certificate to trust and two keys; prints what it got, as JSON.
"""

import json
import ssl
import sys
from typing import Final

from vault_service.client import Client

CARD: Final = "4111111111111111"

if __name__ == "__main__":
    url, certificate, checkout, disputes = sys.argv[1:]
    tls = ssl.create_default_context(cafile=certificate)
    with Client(url, checkout, ssl_context=tls) as vault:
        (token,) = vault.tokenize("pan", [CARD])
        (masked,) = vault.detokenize([token], purpose="customer_support")
    with Client(url, disputes, ssl_context=tls) as vault:
        (plain,) = vault.detokenize([token], purpose="chargeback", form="plain")
    sys.stdout.write(json.dumps({"token": token, "masked": masked, "plain": plain}))
