output "url" {
  description = "The vault, for those who call it."
  value       = module.vault.url
}

output "endpoint_service_name" {
  description = "What callers make their endpoint to."
  value       = module.vault.endpoint_service_name
}

output "repository_urls" {
  description = "Where images are pushed: service and collector."
  value       = module.vault.repository_urls
}

output "cluster_name" {
  description = "ECS cluster of service and operations."
  value       = module.vault.cluster_name
}

output "operations" {
  description = "What a one-off task needs: its task definition, subnets and security group."
  value       = module.vault.operations
}

output "database" {
  description = "Where the database is: endpoint, port, name, and the secret of its master."
  value       = module.vault.database
}

output "role_arns" {
  description = "Roles of tasks and people: service, sealer, migrator, auditor, key_administrator, break_glass."
  value       = module.vault.role_arns
}

output "key_arns" {
  description = "ARNs of the KMS keys: pci, pii, signing, reports, storage."
  value       = module.vault.key_arns
}

output "alarm_topic_arn" {
  description = "SNS topic that every alarm goes to."
  value       = module.vault.alarm_topic_arn
}
