# Where every alarm goes. PCI-DSS 10.4.1.1, 10.7.2, 12.10.5.

locals {
  prefix = "${var.deployment.name}-${var.deployment.stage}"
  arn    = "arn:${var.deployment.partition}"
  here   = "${var.deployment.region}:${var.deployment.account_id}"
}

resource "aws_sns_topic" "alarms" {
  name              = "${local.prefix}-alarms"
  kms_master_key_id = var.key_arns.storage
}

data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "AlarmsAndEvents"
    effect    = "Allow"
    actions   = ["sns:Publish"]
    resources = ["${local.arn}:sns:${local.here}:${local.prefix}-alarms"]

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

  statement {
    sid       = "OnlyOverTls"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = ["${local.arn}:sns:${local.here}:${local.prefix}-alarms"]

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
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

resource "aws_sns_topic_subscription" "alarms" {
  for_each = var.subscribers

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}

resource "aws_cloudwatch_event_rule" "failed_deployment" {
  name        = "${local.prefix}-failed-deployment"
  description = "A deployment did not become healthy and was rolled back"
  event_pattern = jsonencode({
    source        = ["aws.ecs"]
    "detail-type" = ["ECS Deployment State Change"]
    detail        = { eventName = ["SERVICE_DEPLOYMENT_FAILED"] }
    resources     = [{ prefix = "${local.arn}:ecs:${local.here}:service/${var.cluster_name}/" }]
  })
}

resource "aws_cloudwatch_event_target" "failed_deployment" {
  rule = aws_cloudwatch_event_rule.failed_deployment.name
  arn  = aws_sns_topic.alarms.arn
}
