output "alarm_topic_arn" {
  description = "SNS topic that every alarm goes to."
  value       = aws_sns_topic.alarms.arn
}

output "alarm_names" {
  description = "Names of the alarms."
  value = sort(concat(
    [for alarm in aws_cloudwatch_metric_alarm.watched : alarm.alarm_name],
    [for alarm in aws_cloudwatch_metric_alarm.measured : alarm.alarm_name],
    [aws_cloudwatch_metric_alarm.decrypts.alarm_name],
  ))
}
