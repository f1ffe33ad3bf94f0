variable "cidr_block" {
  description = "Addresses of the VPC. They never meet another network's: callers come in by PrivateLink."
  type        = string

  validation {
    condition     = can(cidrnetmask(var.cidr_block)) && try(tonumber(split("/", var.cidr_block)[1]), 0) >= 16 && try(tonumber(split("/", var.cidr_block)[1]), 99) <= 22
    error_message = "cidr_block is an IPv4 network of /16 to /22."
  }
}

variable "availability_zones" {
  description = "Zones that the vault is spread over."
  type        = list(string)

  validation {
    condition     = length(var.availability_zones) >= 2 && length(var.availability_zones) <= 4 && length(distinct(var.availability_zones)) == length(var.availability_zones)
    error_message = "availability_zones names two to four zones, each once: one zone is no spread."
  }
}

variable "client_networks" {
  description = "Addresses that callers have in their own VPCs, by a name: who may knock at the entrance through PrivateLink."
  type        = map(string)

  validation {
    condition     = length(var.client_networks) > 0 && alltrue([for network in values(var.client_networks) : can(cidrnetmask(network)) && try(tonumber(split("/", network)[1]), 0) >= 8])
    error_message = "client_networks maps names to IPv4 networks of /8 or smaller; anywhere is not a caller."
  }
  validation {
    condition     = alltrue([for name in keys(var.client_networks) : can(regex("^[a-z][a-z0-9_-]{0,30}$", name))])
    error_message = "The names of client_networks are lower-case letters, digits, hyphens and underscores."
  }
}

variable "service_port" {
  description = "Port that the service listens on."
  type        = number
  default     = 8200

  validation {
    condition     = var.service_port >= 1024 && var.service_port <= 65535
    error_message = "service_port is 1024 to 65535: the service runs unprivileged."
  }
}

variable "service_domain" {
  description = "Name of the vault for those who call it, resolved inside the VPC too."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,}$", var.service_domain))
    error_message = "service_domain is a domain name in lower case."
  }
}

variable "bucket_names" {
  description = "Buckets that are reached from the VPC, with those of the audit account."
  type        = set(string)

  validation {
    condition     = length(var.bucket_names) > 0 && alltrue([for name in var.bucket_names : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", name))])
    error_message = "bucket_names are names of S3 buckets."
  }
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the role that writes flow logs."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:policy/", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn is the ARN of an IAM policy."
  }
}

variable "log_key_arn" {
  description = "KMS key that log groups are encrypted with."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:kms:", var.log_key_arn))
    error_message = "log_key_arn is the ARN of a KMS key."
  }
}

variable "log_retention_days" {
  description = "Days that logs are kept. PCI-DSS 10.5.1 asks for twelve months; 400 leave room for whoever is late."
  type        = number
  default     = 400

  validation {
    condition     = contains([365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days is a period that CloudWatch Logs knows, of 365 days at least (PCI-DSS 10.5.1)."
  }
}
