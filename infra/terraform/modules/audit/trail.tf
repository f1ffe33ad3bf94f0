# The trail of the vault's account: every call to AWS, each use of a key among them, and each
# object of the buckets. PCI-DSS 10.2.1, 10.2.1.1, 10.3.4.

resource "aws_cloudtrail" "vault" {
  provider = aws.vault

  name                          = local.prefix
  s3_bucket_name                = aws_s3_bucket_policy.trail.bucket
  kms_key_id                    = aws_kms_key.trail.arn
  cloud_watch_logs_group_arn    = "${aws_cloudwatch_log_group.trail.arn}:*"
  cloud_watch_logs_role_arn     = aws_iam_role.trail.arn
  enable_logging                = true
  enable_log_file_validation    = true
  is_multi_region_trail         = true
  include_global_service_events = true

  advanced_event_selector {
    name = "Management events, uses of keys among them"

    field_selector {
      field  = "eventCategory"
      equals = ["Management"]
    }
  }

  advanced_event_selector {
    name = "Objects of checkpoints and reports"

    field_selector {
      field  = "eventCategory"
      equals = ["Data"]
    }
    field_selector {
      field  = "resources.type"
      equals = ["AWS::S3::Object"]
    }
    field_selector {
      field = "resources.ARN"
      starts_with = concat(
        ["${local.bucket_arns["checkpoints"]}/"],
        sort([for name in var.watched_bucket_names : "${local.arn}:s3:::${name}/"]),
      )
    }
  }

  insight_selector {
    insight_type = "ApiCallRateInsight"
  }
  insight_selector {
    insight_type = "ApiErrorRateInsight"
  }

  depends_on = [aws_iam_role_policy.trail]
}

resource "aws_cloudwatch_log_group" "trail" {
  provider = aws.vault

  name              = "/${local.prefix}/trail"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_key_arn
}

data "aws_iam_policy_document" "trail_trust" {
  statement {
    effect  = "Allow"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["cloudtrail.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "trail_logs" {
  statement {
    sid       = "CopyTheTrail"
    effect    = "Allow"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${local.arn}:logs:${var.deployment.region}:${var.deployment.account_id}:log-group:/${local.prefix}/trail:log-stream:*"]
  }
}

resource "aws_iam_role" "trail" {
  provider = aws.vault

  name                 = "${local.prefix}-trail"
  description          = "Copies the trail into CloudWatch Logs, for alarms"
  assume_role_policy   = data.aws_iam_policy_document.trail_trust.json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy" "trail" {
  provider = aws.vault

  name   = "copy"
  role   = aws_iam_role.trail.name
  policy = data.aws_iam_policy_document.trail_logs.json
}
