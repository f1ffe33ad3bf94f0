output "url" {
  description = "The vault, for those who call it."
  value       = module.service.url
}

output "endpoint_service_name" {
  description = "What callers make their endpoint to."
  value       = module.service.endpoint_service_name
}

output "repository_urls" {
  description = "Where images are pushed: service and collector."
  value       = module.service.repository_urls
}

output "cluster_name" {
  description = "ECS cluster of service and operations."
  value       = module.service.cluster_name
}

output "operations" {
  description = "What a one-off task needs: its task definition, subnets and security group."
  value = {
    task_definition   = module.service.operations_task_definition
    subnet_ids        = module.network.subnet_ids["service"]
    security_group_id = module.network.security_group_ids["operations"]
  }
}

output "database" {
  description = "Where the database is: endpoint, port, name, and the secret of its master."
  value = {
    endpoint          = module.database.endpoint
    port              = module.database.port
    name              = module.database.database_name
    master_secret_arn = module.database.master_secret_arn
  }
}

output "role_arns" {
  description = "Roles of tasks and people: service, sealer, migrator, auditor, key_administrator, break_glass."
  value       = module.identity.role_arns
}

output "key_arns" {
  description = "ARNs of the KMS keys: pci, pii, signing, reports, storage."
  value       = module.kms.key_arns
}

output "alarm_topic_arn" {
  description = "SNS topic that every alarm goes to."
  value       = module.monitoring.alarm_topic_arn
}
