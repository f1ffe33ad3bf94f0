output "role_arns" {
  description = "Roles of tasks and people."
  value       = module.vault.role_arns
}

output "key_arns" {
  description = "ARNs of the KMS keys."
  value       = module.vault.key_arns
}
