# Aurora PostgreSQL. People and tasks log in by IAM, over TLS only; values come in encrypted,
# and what is bound to a statement is never logged. PCI-DSS 2.2.6, 3.5.1, 4.2.1, 8.3.2.

locals {
  prefix = "${var.deployment.name}-${var.deployment.stage}"
  major  = split(".", var.engine_version)[0]
  parameters = {
    # Refuses connections without TLS, or with an old one.
    "rds.force_ssl"            = "1"
    "ssl_min_protocol_version" = "TLSv1.2"
    "password_encryption"      = "scram-sha-256"
    # DETAIL and CONTEXT of errors quote rows; parameters of statements are values.
    "log_error_verbosity"               = "terse"
    "log_parameter_max_length"          = "0"
    "log_parameter_max_length_on_error" = "0"
    # Statements hold no value, but a hand-written one could.
    "log_statement"              = "none"
    "log_min_duration_statement" = "-1"
    "log_min_error_statement"    = "panic"
    # PCI-DSS 10.2.1.4, 10.2.1.5
    "log_connections"    = "1"
    "log_disconnections" = "1"
    # What was acknowledged is on disk.
    "synchronous_commit" = "on"
  }
}

resource "aws_rds_cluster_parameter_group" "vault" {
  name        = "${local.prefix}-postgresql${local.major}"
  family      = "aurora-postgresql${local.major}"
  description = "TLS only; no value in a log"

  dynamic "parameter" {
    for_each = local.parameters

    content {
      name  = parameter.key
      value = parameter.value
      # The same for all: static ones would take no other, and each is set before a start.
      apply_method = "pending-reboot"
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_db_subnet_group" "vault" {
  name        = local.prefix
  description = "Subnets without a way out"
  subnet_ids  = var.subnet_ids
}

# AWS would make it without a key and keep it for ever.
resource "aws_cloudwatch_log_group" "postgresql" {
  name              = "/aws/rds/cluster/${local.prefix}/postgresql"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.storage_key_arn
}

resource "aws_rds_cluster" "vault" {
  cluster_identifier = local.prefix
  engine             = "aurora-postgresql"
  engine_version     = var.engine_version
  database_name      = var.database_name

  # AWS makes and rotates the master's password; it is in no plan and no state.
  master_username               = "strongroom_master"
  manage_master_user_password   = true
  master_user_secret_kms_key_id = var.storage_key_arn

  iam_database_authentication_enabled = true
  enable_http_endpoint                = var.data_api

  storage_encrypted               = true
  kms_key_id                      = var.storage_key_arn
  db_subnet_group_name            = aws_db_subnet_group.vault.name
  vpc_security_group_ids          = [var.security_group_id]
  db_cluster_parameter_group_name = aws_rds_cluster_parameter_group.vault.name
  enabled_cloudwatch_logs_exports = ["postgresql"]

  deletion_protection          = var.deletion_protection
  skip_final_snapshot          = !var.deletion_protection
  final_snapshot_identifier    = "${local.prefix}-final"
  copy_tags_to_snapshot        = true
  backup_retention_period      = var.backup_retention_days
  preferred_backup_window      = "01:00-02:00"
  preferred_maintenance_window = "sun:03:00-sun:04:00"
  allow_major_version_upgrade  = false

  depends_on = [aws_cloudwatch_log_group.postgresql]
}

resource "aws_rds_cluster_instance" "vault" {
  count = var.instance_count

  identifier         = "${local.prefix}-${count.index}"
  cluster_identifier = aws_rds_cluster.vault.id
  engine             = aws_rds_cluster.vault.engine
  engine_version     = aws_rds_cluster.vault.engine_version
  instance_class     = var.instance_class
  ca_cert_identifier = "rds-ca-rsa2048-g1"

  publicly_accessible             = false
  auto_minor_version_upgrade      = true
  copy_tags_to_snapshot           = true
  promotion_tier                  = count.index
  performance_insights_enabled    = true
  performance_insights_kms_key_id = var.storage_key_arn
  monitoring_interval             = 60
  monitoring_role_arn             = aws_iam_role.monitoring.arn
}
