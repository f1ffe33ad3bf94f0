# Two accounts: the vault's, and the one that keeps its record. Whoever applies this takes on a
# role in each.

provider "aws" {
  region              = var.region
  allowed_account_ids = [var.account_id]

  assume_role {
    role_arn     = var.deployer_role_arns.vault
    session_name = "strongroom-terraform"
  }

  default_tags {
    tags = local.tags
  }
}

provider "aws" {
  alias               = "audit"
  region              = var.region
  allowed_account_ids = [var.audit_account_id]

  assume_role {
    role_arn     = var.deployer_role_arns.audit
    session_name = "strongroom-terraform"
  }

  default_tags {
    tags = local.tags
  }
}

locals {
  tags = {
    Application = "strongroom"
    Stage       = "prod"
  }
}
