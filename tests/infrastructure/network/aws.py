"""The hosts that stand for AWS: moto's server, a program in the host's namespace.

It makes the keys and the bucket that a vault needs, prints their names, and ends with its
standard input.
"""

import json
import logging
import sys
from typing import Final

from boto3.session import Session
from moto.server import ThreadedMotoServer

REGION: Final = "eu-west-1"
BUCKET: Final = "checkpoints"

if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it writes a line a request
    server = ThreadedMotoServer(ip_address="0.0.0.0", port=443, verbose=False)
    server.start()
    session = Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    kms = session.client("kms", endpoint_url="http://127.0.0.1:443")
    s3 = session.client("s3", endpoint_url="http://127.0.0.1:443")
    s3.create_bucket(
        Bucket=BUCKET,
        ObjectLockEnabledForBucket=True,
        CreateBucketConfiguration={"LocationConstraint": REGION},
    )
    signing = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    keys = {"wrapping": kms.create_key(), "signing": signing}
    sys.stdout.write(json.dumps({n: k["KeyMetadata"]["Arn"] for n, k in keys.items()}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop()
