# People: who looks, who manages keys, and who may destroy them when all else fails.

locals {
  every_key = [for name in ["pci", "pii", "signing", "reports", "storage"] : var.key_arns[name]]
  reading_keys = [
    "kms:DescribeKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListGrants",
    "kms:ListKeyPolicies", "kms:ListKeyRotations", "kms:ListResourceTags",
  ]
}

# PCI-DSS 10.2.1.3, 10.4.1: reads the log, the trail and the rights, and no value.
data "aws_iam_policy_document" "auditor" {
  statement {
    sid       = "LogIn"
    effect    = "Allow"
    actions   = ["rds-db:connect"]
    resources = ["${local.arn}:rds-db:${local.here}:dbuser:${var.database_resource_id}/${var.database_logins.auditor}"]
  }

  statement {
    sid       = "LookAtKeys"
    effect    = "Allow"
    actions   = local.reading_keys
    resources = local.every_key
  }

  statement {
    sid       = "ReadPublicKey"
    effect    = "Allow"
    actions   = ["kms:GetPublicKey"]
    resources = [var.key_arns.signing]
  }

  statement {
    sid       = "OpenTheTrail"
    effect    = "Allow"
    actions   = ["kms:Decrypt"]
    resources = [var.trail_key_arn]
  }

  statement {
    sid    = "ReadLogs"
    effect = "Allow"
    actions = [
      "logs:DescribeLogStreams", "logs:FilterLogEvents", "logs:GetLogEvents", "logs:StartQuery",
    ]
    resources = [
      "${local.arn}:logs:${local.here}:log-group:/${local.prefix}/*",
      "${local.arn}:logs:${local.here}:log-group:/aws/lambda/${local.jobs}-*",
      "${local.arn}:logs:${local.here}:log-group:/aws/rds/cluster/${local.prefix}/*",
    ]
  }

  statement {
    sid       = "ReadTheTrail"
    effect    = "Allow"
    actions   = ["cloudtrail:GetEventSelectors", "cloudtrail:GetTrailStatus"]
    resources = ["${local.arn}:cloudtrail:${local.here}:trail/*"]
  }

  statement {
    sid    = "FindTrailsKeysAndLogs"
    effect = "Allow"
    actions = [
      "cloudtrail:DescribeTrails", "cloudtrail:LookupEvents", "kms:ListAliases", "kms:ListKeys",
      "logs:DescribeLogGroups", "logs:GetQueryResults",
    ]
    resources = ["*"] # AWS knows no resource for these.
  }

  statement {
    sid       = "ReadWhatIsKept"
    effect    = "Allow"
    actions   = ["s3:GetObject", "s3:GetObjectRetention", "s3:GetObjectVersion"]
    resources = [for name in ["checkpoints", "trail"] : "${local.arn}:s3:::${var.bucket_names[name]}/*"]
  }

  statement {
    sid       = "FindWhatIsKept"
    effect    = "Allow"
    actions   = ["s3:GetBucketObjectLockConfiguration", "s3:ListBucket", "s3:ListBucketVersions"]
    resources = [for name in ["checkpoints", "trail"] : "${local.arn}:s3:::${var.bucket_names[name]}"]
  }
}

data "aws_iam_policy_document" "key_administrator" {
  statement {
    sid    = "ManageKeys"
    effect = "Allow"
    actions = concat(local.reading_keys, [
      "kms:CancelKeyDeletion", "kms:EnableKey", "kms:EnableKeyRotation", "kms:GetPublicKey",
      "kms:PutKeyPolicy", "kms:RevokeGrant", "kms:RotateKeyOnDemand", "kms:TagResource",
      "kms:UntagResource", "kms:UpdateKeyDescription",
    ])
    resources = local.every_key
  }

  statement {
    sid       = "ManageAliases"
    effect    = "Allow"
    actions   = ["kms:CreateAlias", "kms:DeleteAlias", "kms:UpdateAlias"]
    resources = concat(local.every_key, ["${local.arn}:kms:${local.here}:alias/${local.prefix}/*"])
  }

  statement {
    sid       = "FindKeys"
    effect    = "Allow"
    actions   = ["kms:ListAliases", "kms:ListKeys"]
    resources = ["*"] # AWS knows no resource for it.
  }
}

data "aws_iam_policy_document" "break_glass" {
  statement {
    sid    = "DestroyKeys"
    effect = "Allow"
    actions = concat(local.reading_keys, [
      "kms:CancelKeyDeletion", "kms:DisableKey", "kms:DisableKeyRotation", "kms:EnableKey",
      "kms:ScheduleKeyDeletion",
    ])
    resources = local.every_key
  }
}

resource "aws_iam_role" "person" {
  for_each = {
    auditor           = "Reads the log, the trail and rights; no value"
    key_administrator = "Manages keys; uses none"
  }

  name                 = "${local.prefix}-${replace(each.key, "_", "-")}"
  description          = each.value
  max_session_duration = 3600
  assume_role_policy   = data.aws_iam_policy_document.person_trust[each.key].json
  permissions_boundary = local.boundary_arn
}

resource "aws_iam_role" "break_glass" {
  name                 = "${local.prefix}-break-glass"
  description          = "Disables and destroys keys; every use raises an alarm"
  max_session_duration = 3600
  assume_role_policy   = data.aws_iam_policy_document.break_glass_trust.json
  permissions_boundary = local.boundary_arn
}

resource "aws_iam_role_policy" "auditor" {
  name   = "audit"
  role   = aws_iam_role.person["auditor"].name
  policy = data.aws_iam_policy_document.auditor.json
}

resource "aws_iam_role_policy" "key_administrator" {
  name   = "keys"
  role   = aws_iam_role.person["key_administrator"].name
  policy = data.aws_iam_policy_document.key_administrator.json
}

resource "aws_iam_role_policy" "break_glass" {
  name   = "keys"
  role   = aws_iam_role.break_glass.name
  policy = data.aws_iam_policy_document.break_glass.json
}
