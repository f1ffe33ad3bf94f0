# One wrapping key for card data, one for personal data: whoever has the use of one opens
# nothing of the other. PCI-DSS 3.6.1, 3.7.1, 3.7.4.

locals {
  domains = {
    pci = "card data"
    pii = "personal data"
  }
  # Exactly what the service binds each wrapped key to (vault_service/adapters/kms/envelope.py).
  context_keys = ["data_class", "environment", "key_id", "purpose", "tenant"]
}

data "aws_iam_policy_document" "domain" {
  source_policy_documents = [data.aws_iam_policy_document.administration.json]

  statement {
    sid       = "WrapAndUnwrap"
    effect    = "Allow"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = [var.role_arns.service]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:environment"
      values   = [var.deployment.stage]
    }
    condition {
      test     = "ForAllValues:StringEquals"
      variable = "kms:EncryptionContextKeys"
      values   = local.context_keys
    }
    # A list of keys that leaves some out would pass the condition above.
    dynamic "condition" {
      for_each = local.context_keys

      content {
        test     = "Null"
        variable = "kms:EncryptionContext:${condition.value}"
        values   = ["false"]
      }
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceVpce"
      values   = [var.endpoint_id]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalOrgID"
      values   = [var.deployment.organization_id]
    }
  }

  statement {
    sid    = "NobodyElseUses"
    effect = "Deny"
    actions = [
      "kms:CreateGrant", "kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyPair",
      "kms:GenerateDataKeyPairWithoutPlaintext", "kms:GenerateDataKeyWithoutPlaintext",
      "kms:ReEncryptFrom", "kms:ReEncryptTo",
    ]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "ArnNotEquals"
      variable = "aws:PrincipalArn"
      values   = [var.role_arns.service]
    }
  }
}

resource "aws_kms_key" "domain" {
  for_each = local.domains

  description             = "${local.prefix}: wraps the data keys of ${each.value}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.domain.json
  tags                    = { Name = "${local.prefix}-${each.key}", Domain = each.key }
}

resource "aws_kms_alias" "domain" {
  for_each = local.domains

  name          = "alias/${local.prefix}/${each.key}"
  target_key_id = aws_kms_key.domain[each.key].key_id
}
