# The only ways out: AWS services, each for the actions that are used, for principals of this
# account, on what belongs to this account. A stolen credential of another account is of no
# use in here, and nothing can be sent to a bucket or key of somebody else's.

locals {
  arn  = "arn:${var.deployment.partition}"
  here = "${var.deployment.region}:${var.deployment.account_id}"
  # Service, then what it may be asked for, on what. With anyone, the principal may be any of
  # the organization's: presigned requests of callers are looked up by AWS STS.
  endpoint_grants = {
    kms = [{
      sid       = "UseKeys"
      actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey", "kms:GetPublicKey", "kms:Sign"]
      resources = ["${local.arn}:kms:${local.here}:key/*"]
      anyone    = false
    }]
    sqs = [{
      sid       = "Queues"
      actions   = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:SendMessage"]
      resources = ["${local.arn}:sqs:${local.here}:strongroom-reports-*"]
      anyone    = false
    }]
    sts = [
      {
        sid       = "WhoCalls"
        actions   = ["sts:GetCallerIdentity"]
        resources = ["*"]
        anyone    = true
      },
      {
        sid       = "RolesOfReports"
        actions   = ["sts:AssumeRole"]
        resources = ["${local.arn}:iam::${var.deployment.account_id}:role/report-*"]
        anyone    = false
      },
    ]
    secretsmanager = [{
      sid       = "Secrets"
      actions   = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
      resources = ["${local.arn}:secretsmanager:${local.here}:secret:${local.prefix}/*"]
      anyone    = false
    }]
    logs = [{
      sid       = "WriteLogs"
      actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      resources = ["${local.arn}:logs:${local.here}:log-group:*"]
      anyone    = false
    }]
    "ecr.api" = [
      {
        sid       = "Login"
        actions   = ["ecr:GetAuthorizationToken"]
        resources = ["*"]
        anyone    = false
      },
      {
        sid       = "PullImages"
        actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        resources = ["${local.arn}:ecr:${local.here}:repository/${local.prefix}*"]
        anyone    = false
      },
    ]
    "ecr.dkr" = [{
      sid       = "PullImages"
      actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetAuthorizationToken", "ecr:GetDownloadUrlForLayer"]
      resources = ["*"]
      anyone    = false
    }]
  }
}

# The principal of an endpoint's policy has to be everybody: AWS reads an account there as its
# root user alone. Who is meant is in the condition.
data "aws_iam_policy_document" "endpoint" {
  for_each = local.endpoint_grants

  dynamic "statement" {
    for_each = each.value

    content {
      sid       = statement.value.sid
      effect    = "Allow"
      actions   = statement.value.actions
      resources = statement.value.resources

      principals {
        type        = "AWS"
        identifiers = ["*"]
      }
      condition {
        test     = "StringEquals"
        variable = "aws:PrincipalOrgID"
        values   = [var.deployment.organization_id]
      }
      dynamic "condition" {
        for_each = statement.value.anyone ? [] : [var.deployment.account_id]

        content {
          test     = "StringEquals"
          variable = "aws:PrincipalAccount"
          values   = [condition.value]
        }
      }
    }
  }
}

resource "aws_vpc_endpoint" "interface" {
  for_each = local.endpoint_grants

  vpc_id              = aws_vpc.vault.id
  service_name        = "com.amazonaws.${var.deployment.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = [for name, subnet in local.subnets : aws_subnet.vault[name].id if subnet.tier == "service"]
  security_group_ids  = [aws_security_group.vault["endpoints"].id]
  policy              = data.aws_iam_policy_document.endpoint[each.key].json
  tags                = { Name = "${local.prefix}-${each.key}" }
}

data "aws_iam_policy_document" "s3" {
  statement {
    sid    = "BucketsOfTheVault"
    effect = "Allow"
    actions = [
      "s3:AbortMultipartUpload", "s3:GetBucketObjectLockConfiguration", "s3:GetObject", "s3:ListBucket",
      "s3:ListBucketMultipartUploads", "s3:PutObject", "s3:PutObjectRetention",
    ]
    resources = flatten([
      for name in var.bucket_names : ["${local.arn}:s3:::${name}", "${local.arn}:s3:::${name}/*"]
    ])

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [var.deployment.account_id]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalOrgID"
      values   = [var.deployment.organization_id]
    }
  }

  # ECR hands out presigned requests for layers, signed by an account of AWS's own.
  statement {
    sid       = "LayersOfImages"
    effect    = "Allow"
    actions   = ["s3:GetObject"]
    resources = ["${local.arn}:s3:::prod-${var.deployment.region}-starport-layer-bucket/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
  }
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.vault.id
  service_name      = "com.amazonaws.${var.deployment.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.vault["service"].id]
  policy            = data.aws_iam_policy_document.s3.json
  tags              = { Name = "${local.prefix}-s3" }
}
