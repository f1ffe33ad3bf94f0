"""The reports, one module each: ``DEFINITION`` says what it reads, and ``make`` makes it.

- Of rights and the log: ``access_review``, ``audit_verify``, ``audit_seal``
- Of what is stored, without values: ``pci_inventory``, ``retention_purge``
- With values or about people: ``subject_access``, ``breach_notification``,
  ``chargeback_file``, ``sanctions_screening``
"""
