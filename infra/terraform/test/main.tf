module "vault" {
  source = "../modules/vault"
  providers = {
    aws       = aws
    aws.audit = aws.audit
  }

  deployment = {
    name            = "strongroom"
    stage           = "test"
    partition       = "aws"
    region          = "eu-west-1"
    account_id      = local.account_id
    organization_id = "o-exampleorgid"
  }
  audit_account_id = local.audit_account_id
  deployer_role_arns = {
    vault = "arn:aws:iam::${local.account_id}:role/terraform"
    audit = "arn:aws:iam::${local.audit_account_id}:role/terraform"
  }
  person_role_arns = {
    auditor           = ["arn:aws:iam::777788889999:role/audit"]
    key_administrator = ["arn:aws:iam::777788889999:role/key-custodians"]
  }
  break_glass_user_arns = [
    "arn:aws:iam::${local.account_id}:user/break-glass-a",
    "arn:aws:iam::${local.account_id}:user/break-glass-b",
  ]
  report_reader_arns = ["arn:aws:iam::777788889999:role/compliance"]
  network = {
    cidr_block         = "10.64.0.0/20"
    availability_zones = ["eu-west-1a", "eu-west-1b"]
    client_networks    = var.client_networks
  }
  service_domain  = "vault.example.com"
  certificate_arn = aws_acm_certificate.vault.arn
  consumer_arns   = ["arn:aws:iam::222233334444:root"]
  images = {
    service   = "${local.account_id}.dkr.ecr.eu-west-1.amazonaws.com/strongroom-test@sha256:${sha256("service")}"
    collector = "${local.account_id}.dkr.ecr.eu-west-1.amazonaws.com/strongroom-test/collector@sha256:${sha256("collector")}"
  }
  audit_origin              = "vault.example.com/audit"
  log_key                   = "vault.example.com/audit+00000000+AA=="
  sts_audience              = "vault.example.com"
  alarm_subscribers         = ["security@example.com"]
  checkpoint_retention_days = 1
  deletion_protection       = false
}

resource "aws_acm_certificate" "vault" {
  domain_name       = "vault.example.com"
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}
