# What every key's policy begins with. Administrators manage keys and cannot use them; users
# use them and cannot manage them (PCI-DSS 3.6.1.1, 3.7.6, 7.2.2). There is no statement for
# the account: rights over these keys come from the keys' own policies and from nowhere else.

locals {
  prefix = "${var.deployment.name}-${var.deployment.stage}"
  # What destroys a key, or makes it useless at once.
  destruction = [
    "kms:DeleteImportedKeyMaterial", "kms:DisableKey", "kms:DisableKeyRotation", "kms:ScheduleKeyDeletion",
  ]
  reading = [
    "kms:DescribeKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListGrants",
    "kms:ListKeyPolicies", "kms:ListKeyRotations", "kms:ListResourceTags",
  ]
}

data "aws_iam_policy_document" "administration" {
  statement {
    sid    = "Administer"
    effect = "Allow"
    actions = concat(local.reading, [
      "kms:CancelKeyDeletion", "kms:CreateAlias", "kms:DeleteAlias", "kms:EnableKey",
      "kms:EnableKeyRotation", "kms:GetPublicKey", "kms:PutKeyPolicy", "kms:RevokeGrant",
      "kms:RotateKeyOnDemand", "kms:TagResource", "kms:UntagResource", "kms:UpdateAlias",
      "kms:UpdateKeyDescription",
    ])
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

  statement {
    sid       = "BreakGlass"
    effect    = "Allow"
    actions   = concat(local.reading, ["kms:CancelKeyDeletion", "kms:EnableKey"], local.destruction)
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = [var.role_arns.break_glass]
    }
    condition {
      test     = "Bool"
      variable = "aws:MultiFactorAuthPresent"
      values   = ["true"]
    }
  }

  # Whoever is granted it, in whatever policy: PCI-DSS 3.7.5.
  statement {
    sid       = "NobodyElseDestroys"
    effect    = "Deny"
    actions   = local.destruction
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "ArnNotEquals"
      variable = "aws:PrincipalArn"
      values   = [var.role_arns.break_glass]
    }
  }

  # The least time that a deletion waits, for whoever asks with less.
  statement {
    sid       = "DeletionWaits"
    effect    = "Deny"
    actions   = ["kms:ScheduleKeyDeletion"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "NumericLessThan"
      variable = "kms:ScheduleKeyDeletionPendingWindowInDays"
      values   = ["30"]
    }
  }

  # A policy that locks everybody out destroys a key as well.
  statement {
    sid       = "PoliciesKeepTheirSafetyCheck"
    effect    = "Deny"
    actions   = ["kms:PutKeyPolicy"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "kms:BypassPolicyLockoutSafetyCheck"
      values   = ["true"]
    }
  }

  statement {
    sid       = "AuditorsLook"
    effect    = "Allow"
    actions   = local.reading
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = [var.role_arns.auditor]
    }
  }
}
