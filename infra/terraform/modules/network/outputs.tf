output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.vault.id
}

output "subnet_ids" {
  description = "Subnets by tier (entrance, service, database), in the order of the zones."
  value = {
    for tier in local.tiers : tier => [
      for zone in var.availability_zones : aws_subnet.vault["${tier}-${zone}"].id
    ]
  }
}

output "entrance_networks" {
  description = "Addresses of the balancers' subnets: whose X-Forwarded-For the service believes."
  value       = [for subnet in values(local.subnets) : subnet.cidr_block if subnet.tier == "entrance"]
}

output "security_group_ids" {
  description = "Security groups by name: entrance, balancer, service, operations, jobs, database, endpoints."
  value       = { for name, group in aws_security_group.vault : name => group.id }
}

output "endpoint_ids" {
  description = "Endpoints by the name of their service: kms, sqs, sts, secretsmanager, logs, ecr.api, ecr.dkr, s3."
  value = merge(
    { for name, endpoint in aws_vpc_endpoint.interface : name => endpoint.id },
    { s3 = aws_vpc_endpoint.s3.id },
  )
}

output "log_group_names" {
  description = "Log groups of flows and of DNS queries."
  value = {
    flows = aws_cloudwatch_log_group.flows.name
    dns   = aws_cloudwatch_log_group.dns.name
  }
}
