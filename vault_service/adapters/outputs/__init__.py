"""Where sealed outputs of reports lie: meets
:class:`~vault_service.domain.report_ports.OutputStore`.

- ``s3``: in a bucket; ``file``: in a folder, for the embedded default

Jobs write there, the service only reads. What lies there is sealed to its recipient.
"""
