# The same vault as in production, against a server that plays AWS (moto's): two accounts, each
# entered by a role, at one endpoint.

locals {
  account_id       = "111122223333"
  audit_account_id = "444455556666"
}

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "test"
  secret_key                  = "test"
  allowed_account_ids         = [local.account_id]
  max_retries                 = 2
  skip_metadata_api_check     = true
  skip_credentials_validation = true
  s3_use_path_style           = true

  assume_role {
    role_arn = "arn:aws:iam::${local.account_id}:role/terraform"
  }
  endpoints {
    acm                    = var.endpoint
    applicationautoscaling = var.endpoint
    cloudtrail             = var.endpoint
    cloudwatch             = var.endpoint
    cloudwatchlogs         = var.endpoint
    ec2                    = var.endpoint
    ecr                    = var.endpoint
    ecs                    = var.endpoint
    elbv2                  = var.endpoint
    events                 = var.endpoint
    iam                    = var.endpoint
    kms                    = var.endpoint
    rds                    = var.endpoint
    route53                = var.endpoint
    route53resolver        = var.endpoint
    s3                     = var.endpoint
    secretsmanager         = var.endpoint
    sns                    = var.endpoint
    ssm                    = var.endpoint
    sts                    = var.endpoint
  }
}

provider "aws" {
  alias                       = "audit"
  region                      = "eu-west-1"
  access_key                  = "test"
  secret_key                  = "test"
  allowed_account_ids         = [local.audit_account_id]
  max_retries                 = 2
  skip_metadata_api_check     = true
  skip_credentials_validation = true
  s3_use_path_style           = true

  assume_role {
    role_arn = "arn:aws:iam::${local.audit_account_id}:role/terraform"
  }
  endpoints {
    kms = var.endpoint
    s3  = var.endpoint
    sts = var.endpoint
    iam = var.endpoint
  }
}
