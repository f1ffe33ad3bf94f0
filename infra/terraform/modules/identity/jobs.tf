# Report jobs: clients of the vault. To it they prove who they are, for which AWS asks no
# permission; here they may seal, write below their own place, and log. None may open what it
# sealed, nor any key of the vault: there is no kms:Decrypt (docs/report-jobs.md).

locals {
  jobs = "strongroom-reports-${var.deployment.stage}"
  # Report (or queue_worker), then below which place of the outputs it may write.
  job_places = merge({ for name in var.reports : name => name }, { queue_worker = "*" })
}

data "aws_iam_policy_document" "job" {
  for_each = local.job_places

  statement {
    sid       = "WriteLogs"
    effect    = "Allow"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${local.arn}:logs:${local.here}:log-group:/aws/lambda/${local.jobs}-${replace(each.key, "_", "-")}:*"]
  }

  statement {
    sid       = "StoreOutputs"
    effect    = "Allow"
    actions   = ["s3:AbortMultipartUpload", "s3:PutObject", "s3:PutObjectRetention"]
    resources = ["${local.arn}:s3:::${var.bucket_names.reports}/outputs/${each.value}/*"]
  }

  statement {
    sid       = "FindUnfinishedUploads"
    effect    = "Allow"
    actions   = ["s3:ListBucketMultipartUploads"]
    resources = ["${local.arn}:s3:::${var.bucket_names.reports}"]
  }

  # Whether an attempt that was killed had published its output; what is in it, no job reads.
  statement {
    sid       = "FindOwnOutputs"
    effect    = "Allow"
    actions   = ["s3:ListBucket"]
    resources = ["${local.arn}:s3:::${var.bucket_names.reports}"]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["outputs/${each.value}/*"]
    }
  }

  statement {
    sid     = "ReadInputs"
    effect  = "Allow"
    actions = ["s3:GetObject"]
    resources = [
      "${local.arn}:s3:::${var.bucket_names.reports}/recipients/*",
      "${local.arn}:s3:::${var.bucket_names.reports}/inputs/*",
    ]
  }

  statement {
    sid       = "Seal"
    effect    = "Allow"
    actions   = ["kms:GenerateDataKey"]
    resources = [var.key_arns.reports]

    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:purpose"
      values   = ["strongroom/report-output"]
    }
  }

  # Of network interfaces Lambda knows the names only when it has made them.
  statement {
    sid    = "JoinTheNetwork"
    effect = "Allow"
    actions = [
      "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeSubnets",
    ]
    resources = ["*"]
  }
}

data "aws_iam_policy_document" "report" {
  for_each = var.reports

  source_policy_documents = [data.aws_iam_policy_document.job[each.key].json]

  # To the queue go parts of heavy runs, and runs that cannot be made now.
  statement {
    sid     = "HandOnAndGiveUp"
    effect  = "Allow"
    actions = ["sqs:SendMessage"]
    resources = [
      "${local.arn}:sqs:${local.here}:${local.jobs}",
      "${local.arn}:sqs:${local.here}:${local.jobs}-dead",
    ]
  }
}

data "aws_iam_policy_document" "queue_worker" {
  source_policy_documents = [data.aws_iam_policy_document.job["queue_worker"].json]

  statement {
    sid       = "TakeOrdersAndHandOutParts"
    effect    = "Allow"
    actions   = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:SendMessage"]
    resources = ["${local.arn}:sqs:${local.here}:${local.jobs}"]
  }

  statement {
    sid       = "AskAsTheReport"
    effect    = "Allow"
    actions   = ["sts:AssumeRole"]
    resources = [for name in var.reports : "${local.role_arn_prefix}report-${replace(name, "_", "-")}"]
  }
}

# The names are those of policies/principals.yml: the vault tells jobs by them.
resource "aws_iam_role" "report" {
  for_each = var.reports

  name                 = "report-${replace(each.key, "_", "-")}"
  description          = "The job of the report ${each.key}"
  max_session_duration = 3600
  assume_role_policy   = data.aws_iam_policy_document.report_trust.json
  permissions_boundary = local.boundary_arn
}

resource "aws_iam_role_policy" "report" {
  for_each = var.reports

  name   = "report"
  role   = aws_iam_role.report[each.key].name
  policy = data.aws_iam_policy_document.report[each.key].json
}

resource "aws_iam_role" "queue_worker" {
  name                 = "strongroom-reports-queue-worker-${var.deployment.stage}"
  description          = "Takes work orders from the queue"
  max_session_duration = 3600
  assume_role_policy   = data.aws_iam_policy_document.lambda_trust.json
  permissions_boundary = local.boundary_arn
}

resource "aws_iam_role_policy" "queue_worker" {
  name   = "queue-worker"
  role   = aws_iam_role.queue_worker.name
  policy = data.aws_iam_policy_document.queue_worker.json
}
