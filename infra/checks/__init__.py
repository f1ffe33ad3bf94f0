"""What ``make infra-check`` holds the infrastructure to: ``python -m infra.checks``.

- ``__main__``, ``steps``: the command, and its steps in their order
- ``findings``, ``exemptions``, ``commands``: what a step says; exceptions with reasons; programs
- ``terraform``, ``provider``, ``names``: Terraform offline, with names for what AWS names
- ``plan``, ``policies``: a plan in JSON, and the policies in it
- ``rules``: what a rule over a plan is; ``rules_network``, ``rules_keys``, ``rules_identity``,
  ``rules_record``, ``rules_service``: the rules; ``exceptions.yml``
- ``terraform_style``: rules over the text; ``checkov``: with ``checkov.yml``
- ``dockerfile``: hadolint and our own; ``image_tree``: what must not be in the image
- ``packages``, ``sbom``, ``licences``: what is shipped, and under which licence
- ``secret_scan``: with ``known_values.yml``
"""
