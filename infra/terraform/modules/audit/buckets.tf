# What the vault's account must not be able to change lies in another account: signed
# checkpoints of the log, and the trail of AWS. Object Lock in compliance mode: until its date
# nobody deletes or shortens, the root user included. PCI-DSS 10.3.2, 10.3.3, 10.3.4, 10.5.1.

locals {
  prefix = "${var.deployment.name}-${var.deployment.stage}"
  arn    = "arn:${var.deployment.partition}"
  buckets = {
    checkpoints = "${local.prefix}-checkpoints-${var.audit_account_id}"
    trail       = "${local.prefix}-trail-${var.audit_account_id}"
  }
  trail_arn = "${local.arn}:cloudtrail:${var.deployment.region}:${var.deployment.account_id}:trail/${local.prefix}"
}

resource "aws_s3_bucket" "kept" {
  for_each = local.buckets

  bucket              = each.value
  object_lock_enabled = true
}

resource "aws_s3_bucket_versioning" "kept" {
  for_each = aws_s3_bucket.kept

  bucket = each.value.bucket

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_object_lock_configuration" "kept" {
  for_each = aws_s3_bucket_versioning.kept

  bucket = each.value.bucket

  rule {
    default_retention {
      mode = "COMPLIANCE"
      days = var.retention_days
    }
  }
}

resource "aws_s3_bucket_public_access_block" "kept" {
  for_each = aws_s3_bucket.kept

  bucket                  = each.value.bucket
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "kept" {
  for_each = aws_s3_bucket.kept

  bucket = each.value.bucket

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

# Checkpoints are public by design; with S3's own key, keeping one needs no right to decrypt.
resource "aws_s3_bucket_server_side_encryption_configuration" "kept" {
  for_each = aws_s3_bucket.kept

  bucket = each.value.bucket

  rule {
    bucket_key_enabled = each.key == "trail"

    apply_server_side_encryption_by_default {
      sse_algorithm     = each.key == "trail" ? "aws:kms" : "AES256"
      kms_master_key_id = each.key == "trail" ? aws_kms_key.trail.arn : null
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "kept" {
  for_each = aws_s3_bucket_versioning.kept

  bucket = each.value.bucket

  rule {
    id     = "abort-unfinished-uploads"
    status = "Enabled"

    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

resource "aws_s3_bucket_policy" "checkpoints" {
  bucket = aws_s3_bucket_public_access_block.kept["checkpoints"].bucket
  policy = data.aws_iam_policy_document.checkpoints.json
}

resource "aws_s3_bucket_policy" "trail" {
  bucket = aws_s3_bucket_public_access_block.kept["trail"].bucket
  policy = data.aws_iam_policy_document.trail.json
}
