# Alarms on what is measured, silence among them: no news of the trail or of the sealer is bad.

locals {
  own      = { deployment = local.prefix }
  balancer = { LoadBalancer = var.balancer.name }
  targets  = { LoadBalancer = var.balancer.name, TargetGroup = var.balancer.target_group }
  metric_alarms = {
    trail_silent = {
      about     = "No event of the trail for a quarter of an hour (PCI-DSS 10.7.2)"
      namespace = "AWS/Logs", metric = "IncomingLogEvents", dimensions = { LogGroupName = var.log_group_names.trail }
      statistic = "Sum", minutes = 15, comparison = "LessThanThreshold", threshold = 1, missing = "breaching"
    }
    tail_age = {
      about     = "The oldest event that is not sealed is over five minutes old, or nobody tells its age"
      namespace = "Strongroom", metric = "strongroom_audit_unsealed_seconds", dimensions = local.own
      statistic = "Maximum", minutes = 5, comparison = "GreaterThanThreshold", threshold = 300, missing = "breaching"
    }
    failed_logins = {
      about     = "Failed authentication at the vault (PCI-DSS 10.2.1.4)"
      namespace = "Strongroom", metric = "strongroom_authentication_failures_total", dimensions = local.own
      statistic = "Sum", minutes = 5, comparison = "GreaterThanThreshold", threshold = 20, missing = "notBreaching"
    }
    log_contradicted = {
      about     = "The log contradicts what was signed before"
      namespace = "Strongroom", metric = "strongroom_audit_log_broken", dimensions = local.own
      statistic = "Maximum", minutes = 1, comparison = "GreaterThanThreshold", threshold = 0, missing = "notBreaching"
    }
    copies_failing = {
      about     = "Copies of checkpoints cannot be kept in the audit account"
      namespace = "Strongroom", metric = "strongroom_audit_anchor_failures_total", dimensions = local.own
      statistic = "Sum", minutes = 15, comparison = "GreaterThanThreshold", threshold = 10, missing = "notBreaching"
    }
    tasks_missing = {
      about     = "Fewer tasks answer than there are to be"
      namespace = "AWS/ApplicationELB", metric = "HealthyHostCount", dimensions = local.targets
      statistic = "Minimum", minutes = 5, comparison = "LessThanThreshold", threshold = var.balancer.tasks, missing = "breaching"
    }
    answers_failing = {
      about     = "The service answers with 5xx"
      namespace = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", dimensions = local.targets
      statistic = "Sum", minutes = 5, comparison = "GreaterThanThreshold", threshold = 10, missing = "notBreaching"
    }
    balancer_failing = {
      about     = "The balancer answers with 5xx of its own"
      namespace = "AWS/ApplicationELB", metric = "HTTPCode_ELB_5XX_Count", dimensions = local.balancer
      statistic = "Sum", minutes = 5, comparison = "GreaterThanThreshold", threshold = 10, missing = "notBreaching"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "measured" {
  for_each = local.metric_alarms

  alarm_name          = "${local.prefix}-${replace(each.key, "_", "-")}"
  alarm_description   = each.value.about
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.minutes * 60
  evaluation_periods  = 1
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

# How often the service opens data keys follows how many classes and tenants there are, not how
# many requests. More than usual is somebody who opens what the service would not have.
resource "aws_cloudwatch_log_metric_filter" "decrypts" {
  name           = "${local.prefix}-decrypts"
  log_group_name = var.log_group_names.trail
  pattern        = "{ ($.eventSource = \"kms.amazonaws.com\") && ($.eventName = \"Decrypt\") && ${local.vault_key} }"

  metric_transformation {
    namespace     = "Strongroom/${var.deployment.stage}"
    name          = "decrypts"
    value         = "1"
    default_value = "0"
  }
}

resource "aws_cloudwatch_metric_alarm" "decrypts" {
  alarm_name          = "${local.prefix}-decrypts-unusual"
  alarm_description   = "Data keys are opened more often than usual"
  comparison_operator = "GreaterThanUpperThreshold"
  evaluation_periods  = 2
  threshold_metric_id = "usual"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]

  metric_query {
    id          = "usual"
    expression  = "ANOMALY_DETECTION_BAND(decrypts, 4)"
    label       = "What is usual"
    return_data = true
  }
  metric_query {
    id          = "decrypts"
    return_data = true

    metric {
      namespace   = aws_cloudwatch_log_metric_filter.decrypts.metric_transformation[0].namespace
      metric_name = aws_cloudwatch_log_metric_filter.decrypts.metric_transformation[0].name
      period      = 300
      stat        = "Sum"
    }
  }
}
