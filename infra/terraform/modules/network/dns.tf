# Names are a way out too: whoever can ask for any name can send data in the question.
# Only names of the services that are used are resolved; the rest is answered by NODATA.

resource "aws_route53_resolver_firewall_domain_list" "allowed" {
  name = "${local.prefix}-allowed"
  domains = concat(
    [for service in keys(local.endpoint_grants) : "${service}.${var.deployment.region}.amazonaws.com" if !startswith(service, "ecr")],
    [
      "api.ecr.${var.deployment.region}.amazonaws.com",
      "${var.deployment.account_id}.dkr.ecr.${var.deployment.region}.amazonaws.com",
      "*.s3.${var.deployment.region}.amazonaws.com",
      "s3.${var.deployment.region}.amazonaws.com",
      "*.${var.deployment.region}.rds.amazonaws.com",
      var.service_domain,
    ],
  )
}

resource "aws_route53_resolver_firewall_domain_list" "any" {
  name    = "${local.prefix}-any"
  domains = ["*"]
}

resource "aws_route53_resolver_firewall_rule_group" "vault" {
  name = local.prefix
}

resource "aws_route53_resolver_firewall_rule" "allowed" {
  name                    = "allowed"
  action                  = "ALLOW"
  priority                = 100
  firewall_rule_group_id  = aws_route53_resolver_firewall_rule_group.vault.id
  firewall_domain_list_id = aws_route53_resolver_firewall_domain_list.allowed.id
  # An alias could lead to a name that is not on the list; what leads there was trusted.
  firewall_domain_redirection_action = "TRUST_REDIRECTION_DOMAIN"
}

resource "aws_route53_resolver_firewall_rule" "others" {
  name                    = "others"
  action                  = "BLOCK"
  block_response          = "NODATA"
  priority                = 200
  firewall_rule_group_id  = aws_route53_resolver_firewall_rule_group.vault.id
  firewall_domain_list_id = aws_route53_resolver_firewall_domain_list.any.id
}

resource "aws_route53_resolver_firewall_rule_group_association" "vault" {
  name                   = local.prefix
  firewall_rule_group_id = aws_route53_resolver_firewall_rule_group.vault.id
  vpc_id                 = aws_vpc.vault.id
  priority               = 200
  mutation_protection    = "ENABLED"
}

resource "aws_route53_resolver_firewall_config" "vault" {
  resource_id        = aws_vpc.vault.id
  firewall_fail_open = "DISABLED"
}

resource "aws_cloudwatch_log_group" "dns" {
  name              = "/${local.prefix}/dns"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_key_arn
}

resource "aws_route53_resolver_query_log_config" "vault" {
  name            = local.prefix
  destination_arn = aws_cloudwatch_log_group.dns.arn
}

resource "aws_route53_resolver_query_log_config_association" "vault" {
  resolver_query_log_config_id = aws_route53_resolver_query_log_config.vault.id
  resource_id                  = aws_vpc.vault.id
}
