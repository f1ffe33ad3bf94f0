"""``python -m vault_service`` is ``strongroom``."""

from vault_service.cli.app import main

if __name__ == "__main__":
    main()
