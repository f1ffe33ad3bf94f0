# The key that outputs of reports are sealed to. Jobs may ask it for data keys and open
# nothing, not even what they have sealed; readers open and seal nothing.

locals {
  # What reporting_jobs/sealing.py binds an output to; the SDK adds the key of its signature.
  report_context_keys = ["aws-crypto-public-key", "purpose", "report", "run", "template"]
}

data "aws_iam_policy_document" "reports" {
  source_policy_documents = [data.aws_iam_policy_document.administration.json]

  statement {
    sid       = "Seal"
    effect    = "Allow"
    actions   = ["kms:GenerateDataKey"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = values(var.report_job_role_arns)
    }
    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:purpose"
      values   = ["strongroom/report-output"]
    }
    condition {
      test     = "ForAllValues:StringEquals"
      variable = "kms:EncryptionContextKeys"
      values   = local.report_context_keys
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
    sid       = "Open"
    effect    = "Allow"
    actions   = ["kms:Decrypt"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = var.report_reader_arns
    }
    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:purpose"
      values   = ["strongroom/report-output"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalOrgID"
      values   = [var.deployment.organization_id]
    }
  }
}

resource "aws_kms_key" "reports" {
  description             = "${local.prefix}: outputs of reports are sealed to it"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.reports.json
  tags                    = { Name = "${local.prefix}-reports" }
}

resource "aws_kms_alias" "reports" {
  name          = "alias/${local.prefix}/reports"
  target_key_id = aws_kms_key.reports.key_id
}
