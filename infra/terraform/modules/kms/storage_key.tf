# Beneath what AWS stores for the vault: the database's disks and backups, secrets, logs,
# alarms, images. It opens no value: those lie encrypted under the vault's own keys. Nobody of
# another account can use it, so a snapshot that is shared all the same cannot be restored.

locals {
  stores = [
    "ecr", "rds", "secretsmanager", "sns",
  ]
}

data "aws_iam_policy_document" "storage" {
  source_policy_documents = [data.aws_iam_policy_document.administration.json]

  # For roles of this account, while one of these services asks on their behalf.
  statement {
    sid       = "ThroughServices"
    effect    = "Allow"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${var.deployment.partition}:iam::${var.deployment.account_id}:root"]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:CallerAccount"
      values   = [var.deployment.account_id]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = [for store in local.stores : "${store}.${var.deployment.region}.amazonaws.com"]
    }
  }

  statement {
    sid       = "GrantsForServices"
    effect    = "Allow"
    actions   = ["kms:CreateGrant"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${var.deployment.partition}:iam::${var.deployment.account_id}:root"]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = [for store in ["ecr", "rds"] : "${store}.${var.deployment.region}.amazonaws.com"]
    }
    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
  }

  statement {
    sid       = "Logs"
    effect    = "Allow"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${var.deployment.region}.amazonaws.com"]
    }
    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:${var.deployment.partition}:logs:${var.deployment.region}:${var.deployment.account_id}:log-group:*"]
    }
  }

  # Alarms and events publish to an encrypted topic.
  statement {
    sid       = "Alarms"
    effect    = "Allow"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "events.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.deployment.account_id]
    }
  }
}

resource "aws_kms_key" "storage" {
  description             = "${local.prefix}: storage of the database, secrets, logs, alarms and images"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.storage.json
  tags                    = { Name = "${local.prefix}-storage" }
}

resource "aws_kms_alias" "storage" {
  name          = "alias/${local.prefix}/storage"
  target_key_id = aws_kms_key.storage.key_id
}
