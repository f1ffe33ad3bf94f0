# The vault's tasks on Fargate: no host to look after, no shell into a task, a root that is
# read-only, a user without rights, no secret handed over. PCI-DSS 2.2.1, 2.2.6, 6.3.3, 8.6.2.

locals {
  prefix = "${var.deployment.name}-${var.deployment.stage}"
  arn    = "arn:${var.deployment.partition}"
  environment = {
    STRONGROOM_ENV                   = var.deployment.stage
    STRONGROOM_HOST                  = "0.0.0.0"
    STRONGROOM_PORT                  = tostring(var.service_port)
    STRONGROOM_WORKERS               = tostring(var.task.workers)
    STRONGROOM_TRUSTED_PROXIES       = join(",", var.network.entrance_networks)
    STRONGROOM_KMS_KEY_ARN_PCI       = var.key_arns.pci
    STRONGROOM_KMS_KEY_ARN_PII       = var.key_arns.pii
    STRONGROOM_AUDIT_SIGNING_KEY_ARN = var.key_arns.signing
    STRONGROOM_AUDIT_ORIGIN          = var.audit_origin
    # A token of the task's role for each connection, in place of a password: PCI-DSS 8.6.2.
    STRONGROOM_DATABASE_URL                  = local.database_urls["service"]
    STRONGROOM_DATABASE_PASSWORD_FROM        = "iam"
    STRONGROOM_SEALER_DATABASE_URL           = local.database_urls["sealer"]
    STRONGROOM_SEALER_DATABASE_PASSWORD_FROM = "iam"
    STRONGROOM_AUDIT_ANCHOR_BUCKET           = var.checkpoints.location
    STRONGROOM_AUDIT_ANCHOR_DAYS             = tostring(var.checkpoints.retention_days)
    STRONGROOM_REPORT_BUCKET                 = "s3://${aws_s3_bucket.reports.bucket}/outputs"
    # An issuer of OIDC tokens is out of reach here: callers prove their role, or hold an API key.
    STRONGROOM_STS_AUDIENCE    = var.sts_audience
    AWS_REGION                 = var.deployment.region
    AWS_STS_REGIONAL_ENDPOINTS = "regional"
    # Credentials come from the task's own endpoint; the host's metadata is not ours to ask.
    AWS_EC2_METADATA_DISABLED = "true"
  }
  database_urls = {
    for who in ["service", "sealer", "migrator"] :
    who => "postgresql://${var.database.logins[who]}@${var.database.endpoint}:${var.database.port}/${var.database.name}?sslmode=verify-full&sslrootcert=${var.database.root_certificate}"
  }
  # What holds for every container of the vault.
  hardened = {
    essential              = true
    user                   = "65532:65532"
    readonlyRootFilesystem = true
    linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
  }
}

resource "aws_ecs_cluster" "vault" {
  name = local.prefix

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_cloudwatch_log_group" "task" {
  for_each = toset(["service", "operations", "metrics"])

  name              = "/${local.prefix}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arns.storage
}

resource "aws_ecs_task_definition" "service" {
  family                   = "${local.prefix}-service"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.task.cpu
  memory                   = var.task.memory
  task_role_arn            = var.role_arns["service"]
  execution_role_arn       = var.agent_role_arns["service"]

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "ARM64"
  }

  container_definitions = jsonencode([
    merge(local.hardened, {
      name         = "service"
      image        = var.images.service
      command      = ["serve"]
      stopTimeout  = 120
      portMappings = [{ name = "http", containerPort = var.service_port, protocol = "tcp" }]
      environment  = [for name, value in local.environment : { name = name, value = value }]
      # As in the Dockerfile.
      healthCheck = {
        command     = ["CMD", "/opt/strongroom/bin/python", "-m", "vault_service.healthcheck", tostring(var.service_port)]
        interval    = 10
        timeout     = 3
        startPeriod = 20
        retries     = 3
      }
      logConfiguration = local.logging["service"]
    }),
    merge(local.hardened, {
      name             = "collector"
      image            = var.images.collector
      essential        = false
      environment      = [{ name = "AOT_CONFIG_CONTENT", value = local.collector }]
      dependsOn        = [{ containerName = "service", condition = "HEALTHY" }]
      logConfiguration = local.logging["service"]
    }),
  ])
}

# One-off tasks with the migrator's login: `strongroom db upgrade`.
resource "aws_ecs_task_definition" "operations" {
  family                   = "${local.prefix}-operations"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 1024
  memory                   = 2048
  task_role_arn            = var.role_arns["migrator"]
  execution_role_arn       = var.agent_role_arns["operations"]

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "ARM64"
  }

  container_definitions = jsonencode([
    merge(local.hardened, {
      name    = "operations"
      image   = var.images.service
      command = ["db", "upgrade"]
      environment = [
        for name, value in merge(
          { for name in ["AWS_EC2_METADATA_DISABLED", "AWS_REGION", "STRONGROOM_DATABASE_PASSWORD_FROM", "STRONGROOM_ENV"] : name => local.environment[name] },
          { STRONGROOM_DATABASE_URL = local.database_urls["migrator"] },
        ) : { name = name, value = value }
      ]
      logConfiguration = local.logging["operations"]
    }),
  ])
}

locals {
  # Lines are dropped rather than requests held up: the audit log is in the database.
  logging = {
    for name in ["service", "operations"] : name => {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.task[name].name
        "awslogs-region"        = var.deployment.region
        "awslogs-stream-prefix" = "task"
        "mode"                  = "non-blocking"
        "max-buffer-size"       = "25m"
      }
    }
  }
}

resource "aws_ecs_service" "vault" {
  name                               = "vault"
  cluster                            = aws_ecs_cluster.vault.arn
  task_definition                    = aws_ecs_task_definition.service.arn
  launch_type                        = "FARGATE"
  platform_version                   = "1.4.0"
  desired_count                      = var.replicas.least
  enable_execute_command             = false
  propagate_tags                     = "SERVICE"
  availability_zone_rebalancing      = "ENABLED"
  health_check_grace_period_seconds  = 60
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  wait_for_steady_state              = false

  network_configuration {
    subnets          = var.network.subnet_ids["service"]
    security_groups  = [var.network.security_group_ids["service"]]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.service.arn
    container_name   = "service"
    container_port   = var.service_port
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  lifecycle {
    # The autoscaling has the say.
    ignore_changes = [desired_count]
  }

  depends_on = [aws_lb_listener.tls]
}
