locals {
  object_arns = { for name, bucket in local.buckets : name => "${local.arn}:s3:::${bucket}/*" }
  bucket_arns = { for name, bucket in local.buckets : name => "${local.arn}:s3:::${bucket}" }
}

# What holds for either bucket, whoever asks.
data "aws_iam_policy_document" "fence" {
  for_each = local.buckets

  # PCI-DSS 4.2.1
  statement {
    sid       = "OnlyOverTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [local.bucket_arns[each.key], local.object_arns[each.key]]

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
    resources = [local.bucket_arns[each.key], local.object_arns[each.key]]

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

  # Object Lock keeps versions; without this, a deletion would still hide them.
  statement {
    sid    = "NobodyDeletes"
    effect = "Deny"
    actions = [
      "s3:BypassGovernanceRetention", "s3:DeleteObject", "s3:DeleteObjectVersion",
      "s3:PutObjectLegalHold",
    ]
    resources = [local.object_arns[each.key]]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
  }

  statement {
    sid       = "NoWeakerLock"
    effect    = "Deny"
    actions   = ["s3:PutObject", "s3:PutObjectRetention"]
    resources = [local.object_arns[each.key]]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "StringNotEquals"
      variable = "s3:object-lock-mode"
      values   = ["COMPLIANCE"]
    }
    # Whoever names no mode gets the bucket's, which is compliance: CloudTrail names none.
    condition {
      test     = "Null"
      variable = "s3:object-lock-mode"
      values   = ["false"]
    }
  }

  statement {
    sid       = "AuditorsRead"
    effect    = "Allow"
    actions   = ["s3:GetObject", "s3:GetObjectRetention", "s3:GetObjectVersion"]
    resources = [local.object_arns[each.key]]

    principals {
      type        = "AWS"
      identifiers = [var.auditor_role_arn]
    }
  }

  statement {
    sid       = "AuditorsFind"
    effect    = "Allow"
    actions   = ["s3:GetBucketObjectLockConfiguration", "s3:ListBucket", "s3:ListBucketVersions"]
    resources = [local.bucket_arns[each.key]]

    principals {
      type        = "AWS"
      identifiers = [var.auditor_role_arn]
    }
  }
}

data "aws_iam_policy_document" "checkpoints" {
  source_policy_documents = [data.aws_iam_policy_document.fence["checkpoints"].json]

  statement {
    sid       = "KeepCheckpoints"
    effect    = "Allow"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:PutObjectRetention"]
    resources = [local.object_arns["checkpoints"]]

    principals {
      type        = "AWS"
      identifiers = var.writer_role_arns
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceVpce"
      values   = [var.endpoint_id]
    }
  }

  statement {
    sid       = "FindCheckpoints"
    effect    = "Allow"
    actions   = ["s3:GetBucketObjectLockConfiguration", "s3:ListBucket"]
    resources = [local.bucket_arns["checkpoints"]]

    principals {
      type        = "AWS"
      identifiers = var.writer_role_arns
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceVpce"
      values   = [var.endpoint_id]
    }
  }
}

data "aws_iam_policy_document" "trail" {
  source_policy_documents = [data.aws_iam_policy_document.fence["trail"].json]

  statement {
    sid       = "TrailLooks"
    effect    = "Allow"
    actions   = ["s3:GetBucketAcl"]
    resources = [local.bucket_arns["trail"]]

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
    sid       = "TrailWrites"
    effect    = "Allow"
    actions   = ["s3:PutObject"]
    resources = ["${local.bucket_arns["trail"]}/AWSLogs/${var.deployment.account_id}/*"]

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
      test     = "StringEquals"
      variable = "s3:x-amz-acl"
      values   = ["bucket-owner-full-control"]
    }
  }
}
