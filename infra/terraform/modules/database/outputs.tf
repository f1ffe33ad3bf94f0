output "endpoint" {
  description = "Host of the writer."
  value       = aws_rds_cluster.vault.endpoint
}

output "port" {
  description = "Port of the cluster."
  value       = aws_rds_cluster.vault.port
}

output "database_name" {
  description = "Name of the database."
  value       = aws_rds_cluster.vault.database_name
}

output "cluster_identifier" {
  description = "Name of the cluster, for alarms."
  value       = aws_rds_cluster.vault.cluster_identifier
}

output "cluster_resource_id" {
  description = "The cluster's resource id, which names it in rights to log in."
  value       = aws_rds_cluster.vault.cluster_resource_id
}

output "master_secret_arn" {
  description = "Secret with the master's password, for the first set-up of the logins."
  value       = one(aws_rds_cluster.vault.master_user_secret[*].secret_arn)
}

output "log_group_name" {
  description = "PostgreSQL's log."
  value       = aws_cloudwatch_log_group.postgresql.name
}
