"""What meets the domain's ports with the libraries of the outside; knows no use case.

- ``postgres``: tables, hot path, audit log, budgets, credentials, the embedded server
- ``kms``: wrapping keys, in AWS KMS or in a file
- ``signing``: the keys that sign checkpoints, in AWS KMS or in a file
- ``anchors``: where checkpoints are kept, in an S3 bucket with Object Lock or in a folder
- ``archive_files``: months of the log in a folder
- ``outputs``: where sealed outputs of reports lie, in an S3 bucket or in a folder
- ``aws_service``: clients of AWS, within a deadline
- ``private_files``: small files for their owner alone, complete or not there
- ``identity``: OIDC tokens and presigned STS requests
- ``cedar`` with ``cedar_policies``: the policy engine, and Cedar text as data
- ``policy_files``: loads the policy directory; ``strict_yaml``: reads its YAML strictly
- ``policy_check``, ``policy_cases``: does it fit together, does it decide as expected
- ``telemetry``: logs, metrics, traces
"""
