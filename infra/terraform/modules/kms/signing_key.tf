# The key that signs checkpoints and work orders. Auditors pin its public key, so it is kept
# as long as the log; KMS does not rotate such keys. PCI-DSS 10.3.4.

data "aws_iam_policy_document" "signing" {
  source_policy_documents = [data.aws_iam_policy_document.administration.json]

  statement {
    sid       = "Sign"
    effect    = "Allow"
    actions   = ["kms:Sign"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = [var.role_arns.service, var.role_arns.sealer]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:SigningAlgorithm"
      values   = ["ECDSA_SHA_256"]
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
    sid       = "ReadPublicKey"
    effect    = "Allow"
    actions   = ["kms:GetPublicKey"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = [var.role_arns.service, var.role_arns.sealer, var.role_arns.auditor]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalOrgID"
      values   = [var.deployment.organization_id]
    }
  }
}

resource "aws_kms_key" "signing" {
  description              = "${local.prefix}: signs the audit log's checkpoints and work orders"
  key_usage                = "SIGN_VERIFY"
  customer_master_key_spec = "ECC_NIST_P256"
  deletion_window_in_days  = 30
  policy                   = data.aws_iam_policy_document.signing.json
  tags                     = { Name = "${local.prefix}-signing" }
}

resource "aws_kms_alias" "signing" {
  name          = "alias/${local.prefix}/signing"
  target_key_id = aws_kms_key.signing.key_id
}
