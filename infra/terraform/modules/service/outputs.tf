output "url" {
  description = "The vault, for those who call it."
  value       = "https://${var.service_domain}"
}

output "endpoint_service_name" {
  description = "What callers make their endpoint to."
  value       = aws_vpc_endpoint_service.vault.service_name
}

output "repository_urls" {
  description = "Where images are pushed: service and collector."
  value = {
    service   = aws_ecr_repository.image[local.prefix].repository_url
    collector = aws_ecr_repository.image["${local.prefix}/collector"].repository_url
  }
}

output "cluster_name" {
  description = "ECS cluster of service and operations."
  value       = aws_ecs_cluster.vault.name
}

output "operations_task_definition" {
  description = "Task definition of one-off tasks with the migrator's login."
  value       = aws_ecs_task_definition.operations.family
}

output "log_group_names" {
  description = "Log groups: service, operations, metrics."
  value       = { for name, group in aws_cloudwatch_log_group.task : name => group.name }
}

output "balancer_name" {
  description = "The application balancer, as alarms name it."
  value       = aws_lb.balancer.arn_suffix
}

output "target_group_name" {
  description = "The service's targets, as alarms name them."
  value       = aws_lb_target_group.service.arn_suffix
}
