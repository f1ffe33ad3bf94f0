# What infra/serverless/serverless.yml reads.

locals {
  parameters = merge(
    {
      "vault-url"         = "https://${var.service_domain}"
      "audience"          = var.sts_audience
      "bucket"            = aws_s3_bucket.reports.bucket
      "recipient-key-arn" = var.key_arns.reports
      "alarm-topic-arn"   = var.alarm_topic_arn
      "security-group"    = var.network.security_group_ids["jobs"]
      "subnet-a"          = var.network.subnet_ids["service"][0]
      "subnet-b"          = var.network.subnet_ids["service"][1]
    },
    { for name, arn in var.report_job_role_arns : "roles/${replace(name, "_", "-")}" => arn },
    # Parameters are never empty; the jobs are deployed when there is a log.
    var.log_key == "" ? {} : { "log-key" = var.log_key },
  )
}

resource "aws_ssm_parameter" "report" {
  for_each = local.parameters

  name        = "/strongroom/${var.deployment.stage}/reports/${each.key}"
  description = "Read by infra/serverless"
  type        = "String"
  value       = each.value
}
