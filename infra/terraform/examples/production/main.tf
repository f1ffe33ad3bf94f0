module "vault" {
  source = "../../modules/vault"
  providers = {
    aws       = aws
    aws.audit = aws.audit
  }

  deployment = {
    name            = "strongroom"
    stage           = "prod"
    partition       = "aws"
    region          = var.region
    account_id      = var.account_id
    organization_id = var.organization_id
  }
  audit_account_id          = var.audit_account_id
  deployer_role_arns        = var.deployer_role_arns
  person_role_arns          = var.person_role_arns
  break_glass_user_arns     = var.break_glass_user_arns
  report_reader_arns        = var.report_reader_arns
  network                   = var.network
  service_domain            = var.service_domain
  database                  = var.database
  replicas                  = var.replicas
  checkpoint_retention_days = var.checkpoint_retention_days
  deletion_protection       = var.deletion_protection
  certificate_arn           = var.certificate_arn
  consumer_arns             = var.consumer_arns
  images                    = var.images
  audit_origin              = var.audit_origin
  log_key                   = var.log_key
  sts_audience              = var.sts_audience
  alarm_subscribers         = var.alarm_subscribers
}
