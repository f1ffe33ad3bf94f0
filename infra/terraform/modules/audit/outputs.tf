output "bucket_names" {
  description = "Buckets of the audit account: checkpoints, trail."
  value       = local.buckets
}

output "checkpoints_location" {
  description = "Where the service keeps checkpoints: its STRONGROOM_AUDIT_ANCHOR_BUCKET."
  value       = "s3://${aws_s3_bucket_policy.checkpoints.bucket}/checkpoints"
}

output "retention_days" {
  description = "Days that a checkpoint is kept: the service's STRONGROOM_AUDIT_ANCHOR_DAYS."
  value       = var.retention_days
}

output "trail_key_arn" {
  description = "KMS key of the audit account that the trail is encrypted with."
  value       = aws_kms_key.trail.arn
}

output "trail_log_group_name" {
  description = "The trail's copy in the vault's account, which alarms watch."
  value       = aws_cloudwatch_log_group.trail.name
}
