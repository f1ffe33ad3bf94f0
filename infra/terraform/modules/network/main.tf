# The isolated network. There is no internet gateway, no NAT gateway, no peering and no route
# but the local one and S3's: what is compromised in here has nowhere to send anything.
# PCI-DSS 1.3.1, 1.3.2, 1.4.1, 1.4.4.

locals {
  prefix = "${var.deployment.name}-${var.deployment.stage}"
  tiers  = ["entrance", "service", "database"]
  subnets = {
    for pair in setproduct(range(length(local.tiers)), range(length(var.availability_zones))) :
    "${local.tiers[pair[0]]}-${var.availability_zones[pair[1]]}" => {
      tier = local.tiers[pair[0]]
      zone = var.availability_zones[pair[1]]
      # Four places a tier, so that a zone that is added moves no subnet.
      cidr_block = cidrsubnet(var.cidr_block, 4, pair[0] * 4 + pair[1])
    }
  }
}

resource "aws_vpc" "vault" {
  cidr_block           = var.cidr_block
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = local.prefix }
}

# Even a gateway that somebody attaches passes nothing.
resource "aws_vpc_block_public_access_options" "account" {
  internet_gateway_block_mode = "block-bidirectional"
}

resource "aws_subnet" "vault" {
  for_each = local.subnets

  vpc_id                  = aws_vpc.vault.id
  cidr_block              = each.value.cidr_block
  availability_zone       = each.value.zone
  map_public_ip_on_launch = false
  tags                    = { Name = "${local.prefix}-${each.key}", Tier = each.value.tier }
}

resource "aws_route_table" "vault" {
  for_each = toset(local.tiers)

  vpc_id = aws_vpc.vault.id
  tags   = { Name = "${local.prefix}-${each.key}" }
}

resource "aws_route_table_association" "vault" {
  for_each = local.subnets

  subnet_id      = aws_subnet.vault[each.key].id
  route_table_id = aws_route_table.vault[each.value.tier].id
}

# AWS makes these with every VPC, open; taken over, they let nothing through.
resource "aws_default_route_table" "unused" {
  default_route_table_id = aws_vpc.vault.default_route_table_id
  tags                   = { Name = "${local.prefix}-unused" }
}

resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.vault.id
  tags   = { Name = "${local.prefix}-closed" }
}
