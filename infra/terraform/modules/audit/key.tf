# The trail's key, in the audit account: who runs the vault's account cannot make the trail
# unreadable. PCI-DSS 10.3.1.

data "aws_iam_policy_document" "trail_key" {
  statement {
    sid    = "Administer"
    effect = "Allow"
    actions = [
      "kms:CancelKeyDeletion", "kms:CreateAlias", "kms:DeleteAlias", "kms:DescribeKey", "kms:EnableKey",
      "kms:EnableKeyRotation", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListGrants",
      "kms:ListKeyPolicies", "kms:ListKeyRotations", "kms:ListResourceTags", "kms:PutKeyPolicy",
      "kms:RevokeGrant", "kms:RotateKeyOnDemand", "kms:TagResource", "kms:UntagResource",
      "kms:UpdateAlias", "kms:UpdateKeyDescription",
    ]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = var.administrator_arns
    }
    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalOrgID"
      values   = [var.deployment.organization_id]
    }
  }

  # As long as the trail is kept, so is its key: there is no break-glass here.
  statement {
    sid    = "NobodyDestroys"
    effect = "Deny"
    actions = [
      "kms:DeleteImportedKeyMaterial", "kms:DisableKey", "kms:DisableKeyRotation",
      "kms:ScheduleKeyDeletion",
    ]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
  }

  statement {
    sid       = "TrailEncrypts"
    effect    = "Allow"
    actions   = ["kms:GenerateDataKey"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudtrail.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceArn"
      values   = [local.trail_arn]
    }
    condition {
      test     = "StringLike"
      variable = "kms:EncryptionContext:aws:cloudtrail:arn"
      values   = ["${local.arn}:cloudtrail:*:${var.deployment.account_id}:trail/*"]
    }
  }

  statement {
    sid       = "TrailLooks"
    effect    = "Allow"
    actions   = ["kms:DescribeKey"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudtrail.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceArn"
      values   = [local.trail_arn]
    }
  }

  statement {
    sid       = "AuditorsOpen"
    effect    = "Allow"
    actions   = ["kms:Decrypt", "kms:DescribeKey"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = [var.auditor_role_arn]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalOrgID"
      values   = [var.deployment.organization_id]
    }
  }
}

resource "aws_kms_key" "trail" {
  description             = "${local.prefix}: the trail of the vault's account"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.trail_key.json
  tags                    = { Name = "${local.prefix}-trail" }
}

resource "aws_kms_alias" "trail" {
  name          = "alias/${local.prefix}/trail"
  target_key_id = aws_kms_key.trail.key_id
}
