# Every flow that there is, by name. A flow is two rules: out of one group, into the other.
# What is not named here does not pass. PCI-DSS 1.2.5, 1.2.6, 1.3.1, 1.3.2.

locals {
  groups = {
    entrance   = "Network load balancer that PrivateLink leads to"
    balancer   = "Application load balancer, where TLS ends"
    service    = "Tasks of the vault"
    operations = "One-off tasks: migrations"
    jobs       = "Report jobs on Lambda"
    database   = "Aurora PostgreSQL"
    endpoints  = "Interface endpoints of AWS services"
  }
  flows = {
    entrance_to_balancer    = { from = "entrance", to = "balancer", port = 443 }
    jobs_to_balancer        = { from = "jobs", to = "balancer", port = 443 }
    balancer_to_service     = { from = "balancer", to = "service", port = var.service_port }
    service_to_database     = { from = "service", to = "database", port = 5432 }
    operations_to_database  = { from = "operations", to = "database", port = 5432 }
    service_to_endpoints    = { from = "service", to = "endpoints", port = 443 }
    operations_to_endpoints = { from = "operations", to = "endpoints", port = 443 }
    jobs_to_endpoints       = { from = "jobs", to = "endpoints", port = 443 }
  }
  # S3 is a gateway endpoint: its addresses are a prefix list, not a group.
  flows_to_s3 = toset(["service", "operations", "jobs"])
}

resource "aws_security_group" "vault" {
  for_each = local.groups

  name                   = "${local.prefix}-${each.key}"
  description            = each.value
  vpc_id                 = aws_vpc.vault.id
  revoke_rules_on_delete = true
  tags                   = { Name = "${local.prefix}-${each.key}" }
}

resource "aws_vpc_security_group_egress_rule" "flow" {
  for_each = local.flows

  security_group_id            = aws_security_group.vault[each.value.from].id
  referenced_security_group_id = aws_security_group.vault[each.value.to].id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  tags                         = { Name = each.key }
}

resource "aws_vpc_security_group_ingress_rule" "flow" {
  for_each = local.flows

  security_group_id            = aws_security_group.vault[each.value.to].id
  referenced_security_group_id = aws_security_group.vault[each.value.from].id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  tags                         = { Name = each.key }
}

resource "aws_vpc_security_group_ingress_rule" "client" {
  for_each = var.client_networks

  security_group_id = aws_security_group.vault["entrance"].id
  cidr_ipv4         = each.value
  description       = "${each.key}_to_entrance"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = { Name = "${each.key}_to_entrance" }
}

resource "aws_vpc_security_group_egress_rule" "s3" {
  for_each = local.flows_to_s3

  security_group_id = aws_security_group.vault[each.key].id
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
  description       = "${each.key}_to_s3"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = { Name = "${each.key}_to_s3" }
}
