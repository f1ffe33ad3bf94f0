# What no role of the vault may go beyond, whatever its own policies come to say. It grants
# nothing by itself. PCI-DSS 7.2.2, 7.2.5.

locals {
  prefix = "${var.deployment.name}-${var.deployment.stage}"
  arn    = "arn:${var.deployment.partition}"
  here   = "${var.deployment.region}:${var.deployment.account_id}"
  # Made of names and not of the roles' own ARNs: a name is known before there is a role, so
  # that plans show who is meant.
  role_arn_prefix = "${local.arn}:iam::${var.deployment.account_id}:role/"
  boundary_arn    = "${local.arn}:iam::${var.deployment.account_id}:policy/${aws_iam_policy.boundary.name}"
}

data "aws_iam_policy_document" "boundary" {
  statement {
    sid    = "AtMost"
    effect = "Allow"
    actions = [
      "cloudtrail:DescribeTrails", "cloudtrail:GetEventSelectors", "cloudtrail:GetTrailStatus",
      "cloudtrail:LookupEvents",
      "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeSubnets",
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetAuthorizationToken",
      "ecr:GetDownloadUrlForLayer",
      "kms:CancelKeyDeletion", "kms:CreateAlias", "kms:Decrypt", "kms:DeleteAlias", "kms:DescribeKey",
      "kms:DisableKey", "kms:DisableKeyRotation", "kms:EnableKey", "kms:EnableKeyRotation",
      "kms:GenerateDataKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:GetPublicKey",
      "kms:ListAliases", "kms:ListGrants", "kms:ListKeyPolicies", "kms:ListKeyRotations", "kms:ListKeys",
      "kms:ListResourceTags", "kms:PutKeyPolicy", "kms:RevokeGrant", "kms:RotateKeyOnDemand",
      "kms:ScheduleKeyDeletion", "kms:Sign", "kms:TagResource", "kms:UntagResource", "kms:UpdateAlias",
      "kms:UpdateKeyDescription",
      "logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogGroups", "logs:DescribeLogStreams",
      "logs:FilterLogEvents", "logs:GetLogEvents", "logs:GetQueryResults", "logs:PutLogEvents",
      "logs:PutRetentionPolicy", "logs:StartQuery",
      "rds-db:connect",
      "s3:AbortMultipartUpload", "s3:GetBucketObjectLockConfiguration", "s3:GetObject",
      "s3:GetObjectRetention", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketMultipartUploads",
      "s3:ListBucketVersions", "s3:PutObject", "s3:PutObjectRetention",
      "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:SendMessage",
      "sts:AssumeRole",
    ]
    resources = ["*"]
  }

  # The service opens data keys; auditors open the trail in the audit account. No job, no
  # administrator.
  statement {
    sid       = "OnlyTheseOpen"
    effect    = "Deny"
    actions   = ["kms:Decrypt"]
    resources = ["*"]

    condition {
      test     = "ArnNotEquals"
      variable = "aws:PrincipalArn"
      values = [
        for name in ["service", "auditor"] : "${local.role_arn_prefix}${local.prefix}-${name}"
      ]
    }
  }

  statement {
    sid       = "OnlyBreakGlassDestroysKeys"
    effect    = "Deny"
    actions   = ["kms:DisableKey", "kms:DisableKeyRotation", "kms:ScheduleKeyDeletion"]
    resources = ["*"]

    condition {
      test     = "ArnNotEquals"
      variable = "aws:PrincipalArn"
      values   = ["${local.role_arn_prefix}${local.prefix}-break-glass"]
    }
  }
}

resource "aws_iam_policy" "boundary" {
  name        = "${local.prefix}-boundary"
  description = "What no role of the vault may go beyond"
  policy      = data.aws_iam_policy_document.boundary.json
}
