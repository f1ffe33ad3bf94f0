output "permissions_boundary_arn" {
  description = "What no role of the vault may go beyond."
  value       = local.boundary_arn
}

output "role_arns" {
  description = "Roles of tasks and people: service, sealer, migrator, auditor, key_administrator, break_glass."
  value = merge(
    { for name, role in aws_iam_role.task : name => "${local.role_arn_prefix}${role.name}" },
    { for name, role in aws_iam_role.person : name => "${local.role_arn_prefix}${role.name}" },
    { break_glass = "${local.role_arn_prefix}${aws_iam_role.break_glass.name}" },
  )
}

output "agent_role_arns" {
  description = "Roles with which ECS starts tasks: service, operations."
  value       = { for name, role in aws_iam_role.agent : name => "${local.role_arn_prefix}${role.name}" }
}

output "report_job_role_arns" {
  description = "Roles of the report jobs, by report, with that of the queue's worker (queue_worker)."
  value = merge(
    { for name, role in aws_iam_role.report : name => "${local.role_arn_prefix}${role.name}" },
    { queue_worker = "${local.role_arn_prefix}${aws_iam_role.queue_worker.name}" },
  )
}

output "database_logins" {
  description = "Logins of PostgreSQL by who uses them: service, sealer, auditor, migrator."
  value       = var.database_logins
}
