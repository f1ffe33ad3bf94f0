# The tasks on ECS: service, sealer, migrations; and the agents that start them.

data "aws_iam_policy_document" "service" {
  # kms:Decrypt is here and in no other policy on these keys; the keys' own policies ask for
  # context, endpoint and organization besides. PCI-DSS 3.6.1.3.
  statement {
    sid       = "WrapAndUnwrapDataKeys"
    effect    = "Allow"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.key_arns.pci, var.key_arns.pii]

    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:environment"
      values   = [var.deployment.stage]
    }
  }

  statement {
    sid       = "HandOutSealedReports"
    effect    = "Allow"
    actions   = ["s3:GetObject"]
    resources = ["${local.arn}:s3:::${var.bucket_names.reports}/outputs/*"]
  }

  statement {
    sid     = "LogIn"
    effect  = "Allow"
    actions = ["rds-db:connect"]
    resources = [
      for login in [var.database_logins.service, var.database_logins.sealer] :
      "${local.arn}:rds-db:${local.here}:dbuser:${var.database_resource_id}/${login}"
    ]
  }

  statement {
    sid       = "WriteMetrics"
    effect    = "Allow"
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["${local.arn}:logs:${local.here}:log-group:/${local.prefix}/metrics:*"]
  }
}

# Sealing the log: the leading process of the service does it, with a login of its own.
data "aws_iam_policy_document" "sealing" {
  statement {
    sid       = "ReadPublicKey"
    effect    = "Allow"
    actions   = ["kms:GetPublicKey"]
    resources = [var.key_arns.signing]
  }

  statement {
    sid       = "Sign"
    effect    = "Allow"
    actions   = ["kms:Sign"]
    resources = [var.key_arns.signing]

    condition {
      test     = "StringEquals"
      variable = "kms:SigningAlgorithm"
      values   = ["ECDSA_SHA_256"]
    }
  }

  statement {
    sid       = "KeepCheckpoints"
    effect    = "Allow"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:PutObjectRetention"]
    resources = ["${local.arn}:s3:::${var.bucket_names.checkpoints}/*"]
  }

  statement {
    sid       = "FindCheckpoints"
    effect    = "Allow"
    actions   = ["s3:GetBucketObjectLockConfiguration", "s3:ListBucket"]
    resources = ["${local.arn}:s3:::${var.bucket_names.checkpoints}"]
  }
}

data "aws_iam_policy_document" "login" {
  for_each = toset(["sealer", "migrator"])

  statement {
    sid       = "LogIn"
    effect    = "Allow"
    actions   = ["rds-db:connect"]
    resources = ["${local.arn}:rds-db:${local.here}:dbuser:${var.database_resource_id}/${var.database_logins[each.key]}"]
  }
}

resource "aws_iam_role" "task" {
  for_each = {
    service  = "The vault's tasks"
    sealer   = "A sealer on its own"
    migrator = "One-off tasks that change the schema"
  }

  name                 = "${local.prefix}-${each.key}"
  description          = each.value
  assume_role_policy   = data.aws_iam_policy_document.task_trust.json
  permissions_boundary = local.boundary_arn
}

resource "aws_iam_role_policy" "service" {
  name   = "service"
  role   = aws_iam_role.task["service"].name
  policy = data.aws_iam_policy_document.service.json
}

resource "aws_iam_role_policy" "sealing" {
  for_each = toset(["service", "sealer"])

  name   = "sealing"
  role   = aws_iam_role.task[each.key].name
  policy = data.aws_iam_policy_document.sealing.json
}

resource "aws_iam_role_policy" "login" {
  for_each = data.aws_iam_policy_document.login

  name   = "login"
  role   = aws_iam_role.task[each.key].name
  policy = each.value.json
}

# Agents: what ECS itself does before a task runs. They are given no secret: tasks log in to the
# database by their roles. PCI-DSS 8.6.2.
data "aws_iam_policy_document" "agent" {
  for_each = toset(["service", "operations"])

  statement {
    sid       = "LogInToRegistry"
    effect    = "Allow"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"] # AWS knows no resource for it.
  }

  statement {
    sid       = "PullImages"
    effect    = "Allow"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = ["${local.arn}:ecr:${local.here}:repository/${local.prefix}", "${local.arn}:ecr:${local.here}:repository/${local.prefix}/*"]
  }

  statement {
    sid       = "WriteLogs"
    effect    = "Allow"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${local.arn}:logs:${local.here}:log-group:/${local.prefix}/${each.key}:*"]
  }
}

resource "aws_iam_role" "agent" {
  for_each = data.aws_iam_policy_document.agent

  name                 = "${local.prefix}-${each.key}-agent"
  description          = "Starts tasks: images and logs of ${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.task_trust.json
  permissions_boundary = local.boundary_arn
}

resource "aws_iam_role_policy" "agent" {
  for_each = data.aws_iam_policy_document.agent

  name   = "agent"
  role   = aws_iam_role.agent[each.key].name
  policy = each.value.json
}
