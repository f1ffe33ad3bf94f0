# Writes measurements of the instances' hosts.

data "aws_iam_policy_document" "monitoring_trust" {
  statement {
    effect  = "Allow"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["monitoring.rds.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.deployment.account_id]
    }
  }
}

data "aws_iam_policy_document" "monitoring" {
  statement {
    sid    = "WriteMeasurements"
    effect = "Allow"
    actions = [
      "logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:GetLogEvents",
      "logs:PutLogEvents", "logs:PutRetentionPolicy",
    ]
    resources = [
      "arn:${var.deployment.partition}:logs:${var.deployment.region}:${var.deployment.account_id}:log-group:RDSOSMetrics",
      "arn:${var.deployment.partition}:logs:${var.deployment.region}:${var.deployment.account_id}:log-group:RDSOSMetrics:*",
    ]
  }
}

resource "aws_iam_role" "monitoring" {
  name                 = "${local.prefix}-database-monitoring"
  description          = "Writes measurements of the database's hosts"
  assume_role_policy   = data.aws_iam_policy_document.monitoring_trust.json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy" "monitoring" {
  name   = "write"
  role   = aws_iam_role.monitoring.name
  policy = data.aws_iam_policy_document.monitoring.json
}
