terraform {
  required_version = ">= 1.11.0, < 2.0.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # Where the state lies is given at `terraform init -backend-config=…`: it names what it holds,
  # and belongs into a bucket of the account that deploys, encrypted and versioned.
  backend "s3" {
    use_lockfile = true
    encrypt      = true
  }
}
