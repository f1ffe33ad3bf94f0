# What report jobs leave, sealed, and read: outputs, recipients' public keys, inputs.
# With S3's own key: files are sealed already, and a job that wrote under one of KMS would need
# kms:Decrypt for uploads in parts.

resource "aws_s3_bucket" "reports" {
  bucket              = var.report_bucket_name
  object_lock_enabled = true
}

resource "aws_s3_bucket_versioning" "reports" {
  bucket = aws_s3_bucket.reports.bucket

  versioning_configuration {
    status = "Enabled"
  }
}

# Jobs set mode and date on each output; inputs and keys have no date.
resource "aws_s3_bucket_object_lock_configuration" "reports" {
  bucket = aws_s3_bucket_versioning.reports.bucket
}

resource "aws_s3_bucket_public_access_block" "reports" {
  bucket                  = aws_s3_bucket.reports.bucket
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "reports" {
  bucket = aws_s3_bucket.reports.bucket

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "reports" {
  bucket = aws_s3_bucket.reports.bucket

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "reports" {
  bucket = aws_s3_bucket_versioning.reports.bucket

  rule {
    id     = "abort-unfinished-uploads"
    status = "Enabled"

    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
  }
}

data "aws_iam_policy_document" "reports" {
  # PCI-DSS 4.2.1
  statement {
    sid       = "OnlyOverTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = ["${local.arn}:s3:::${var.report_bucket_name}", "${local.arn}:s3:::${var.report_bucket_name}/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  statement {
    sid       = "OnlyOverTls12"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = ["${local.arn}:s3:::${var.report_bucket_name}", "${local.arn}:s3:::${var.report_bucket_name}/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "NumericLessThan"
      variable = "s3:TlsVersion"
      values   = ["1.2"]
    }
  }

  # An output comes from its report's job and from nobody else.
  statement {
    sid       = "OnlyJobsStoreOutputs"
    effect    = "Deny"
    actions   = ["s3:PutObject", "s3:PutObjectRetention"]
    resources = ["${local.arn}:s3:::${var.report_bucket_name}/outputs/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "ArnNotEquals"
      variable = "aws:PrincipalArn"
      values   = values(var.report_job_role_arns)
    }
  }

  statement {
    sid       = "NobodyDeletesOutputs"
    effect    = "Deny"
    actions   = ["s3:BypassGovernanceRetention", "s3:DeleteObject", "s3:DeleteObjectVersion"]
    resources = ["${local.arn}:s3:::${var.report_bucket_name}/outputs/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
  }
}

resource "aws_s3_bucket_policy" "reports" {
  bucket = aws_s3_bucket_public_access_block.reports.bucket
  policy = data.aws_iam_policy_document.reports.json
}
