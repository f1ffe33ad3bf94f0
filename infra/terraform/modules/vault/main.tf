# A vault of its own account, put together. Roles, keys and buckets know each other by names
# and ARNs in both directions; the order of making is: roles without rights, network, keys
# that know roles and endpoints, then the roles' rights, which know the keys.

locals {
  prefix = "${var.deployment.name}-${var.deployment.stage}"
  bucket_names = {
    checkpoints = "${local.prefix}-checkpoints-${var.audit_account_id}"
    trail       = "${local.prefix}-trail-${var.audit_account_id}"
    reports     = "${local.prefix}-reports-${var.deployment.account_id}"
  }
}

module "network" {
  source = "../network"

  deployment               = var.deployment
  cidr_block               = var.network.cidr_block
  availability_zones       = var.network.availability_zones
  client_networks          = var.network.client_networks
  service_domain           = var.service_domain
  bucket_names             = [local.bucket_names.checkpoints, local.bucket_names.reports]
  permissions_boundary_arn = module.identity.permissions_boundary_arn
  log_key_arn              = module.kms.key_arns.storage
}

module "identity" {
  source = "../identity"

  deployment            = var.deployment
  key_arns              = module.kms.key_arns
  trail_key_arn         = module.audit.trail_key_arn
  bucket_names          = local.bucket_names
  database_resource_id  = module.database.cluster_resource_id
  person_role_arns      = var.person_role_arns
  break_glass_user_arns = var.break_glass_user_arns
}

module "kms" {
  source = "../kms"

  deployment           = var.deployment
  administrator_arns   = [module.identity.role_arns.key_administrator, var.deployer_role_arns.vault]
  role_arns            = { for name in ["break_glass", "service", "sealer", "auditor"] : name => module.identity.role_arns[name] }
  report_job_role_arns = module.identity.report_job_role_arns
  report_reader_arns   = var.report_reader_arns
  endpoint_id          = module.network.endpoint_ids["kms"]
}

module "database" {
  source = "../database"

  deployment               = var.deployment
  subnet_ids               = module.network.subnet_ids["database"]
  security_group_id        = module.network.security_group_ids["database"]
  storage_key_arn          = module.kms.key_arns.storage
  permissions_boundary_arn = module.identity.permissions_boundary_arn
  instance_class           = var.database.instance_class
  instance_count           = var.database.instance_count
  data_api                 = var.database.data_api
  deletion_protection      = var.deletion_protection
}

module "audit" {
  source = "../audit"
  providers = {
    aws       = aws.audit
    aws.vault = aws
  }

  deployment               = var.deployment
  audit_account_id         = var.audit_account_id
  administrator_arns       = [var.deployer_role_arns.audit]
  writer_role_arns         = [module.identity.role_arns.service, module.identity.role_arns.sealer]
  auditor_role_arn         = module.identity.role_arns.auditor
  endpoint_id              = module.network.endpoint_ids["s3"]
  watched_bucket_names     = [local.bucket_names.reports]
  retention_days           = var.checkpoint_retention_days
  permissions_boundary_arn = module.identity.permissions_boundary_arn
  log_key_arn              = module.kms.key_arns.storage
}

module "service" {
  source = "../service"

  deployment = var.deployment
  network = {
    vpc_id             = module.network.vpc_id
    subnet_ids         = module.network.subnet_ids
    security_group_ids = module.network.security_group_ids
    entrance_networks  = module.network.entrance_networks
  }
  service_domain       = var.service_domain
  certificate_arn      = var.certificate_arn
  consumer_arns        = var.consumer_arns
  images               = var.images
  role_arns            = module.identity.role_arns
  agent_role_arns      = module.identity.agent_role_arns
  report_job_role_arns = module.identity.report_job_role_arns
  key_arns             = module.kms.key_arns
  database = {
    endpoint = module.database.endpoint
    port     = module.database.port
    name     = module.database.database_name
    logins   = module.identity.database_logins
  }
  checkpoints = {
    location       = module.audit.checkpoints_location
    retention_days = module.audit.retention_days
  }
  report_bucket_name  = local.bucket_names.reports
  alarm_topic_arn     = module.monitoring.alarm_topic_arn
  audit_origin        = var.audit_origin
  log_key             = var.log_key
  sts_audience        = var.sts_audience
  replicas            = var.replicas
  deletion_protection = var.deletion_protection
}

module "monitoring" {
  source = "../monitoring"

  deployment  = var.deployment
  subscribers = var.alarm_subscribers
  log_group_names = {
    trail    = module.audit.trail_log_group_name
    service  = module.service.log_group_names["service"]
    database = module.database.log_group_name
    flows    = module.network.log_group_names["flows"]
    dns      = module.network.log_group_names["dns"]
  }
  key_arns = module.kms.key_arns
  role_arns = {
    service     = module.identity.role_arns["service"]
    break_glass = module.identity.role_arns["break_glass"]
  }
  balancer = {
    name         = module.service.balancer_name
    target_group = module.service.target_group_name
    tasks        = var.replicas.least
  }
  cluster_name = module.service.cluster_name
}
