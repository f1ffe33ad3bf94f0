variable "audit_account_id" {
  description = "The account that keeps checkpoints and the trail."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.audit_account_id)) && var.audit_account_id != var.deployment.account_id
    error_message = "audit_account_id has 12 digits, and is not the vault's own account: who runs the vault must not be able to change its record."
  }
}

variable "deployer_role_arns" {
  description = "Roles that apply this: of the vault's account and of the audit account. They manage keys and use none."
  type = object({
    vault = string
    audit = string
  })

  validation {
    condition     = alltrue([for arn in values(var.deployer_role_arns) : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/", arn))])
    error_message = "deployer_role_arns are ARNs of IAM roles."
  }
}

variable "person_role_arns" {
  description = "Federated roles of people, by what they may become: auditor, key_administrator."
  type = object({
    auditor           = set(string)
    key_administrator = set(string)
  })

  validation {
    condition     = alltrue([for arns in values(var.person_role_arns) : length(arns) > 0])
    error_message = "person_role_arns names one role at least for each."
  }
}

variable "break_glass_user_arns" {
  description = "IAM users with a hardware key each who can destroy keys when all else fails."
  type        = set(string)

  validation {
    condition     = length(var.break_glass_user_arns) >= 2
    error_message = "break_glass_user_arns names two users at least: one envelope can burn."
  }
}

variable "report_reader_arns" {
  description = "Roles that open sealed reports."
  type        = set(string)

  validation {
    condition     = length(var.report_reader_arns) > 0
    error_message = "report_reader_arns names one role at least."
  }
}

variable "network" {
  description = "Addresses of the VPC, its zones, and those of the callers' VPCs by name."
  type = object({
    cidr_block         = string
    availability_zones = list(string)
    client_networks    = map(string)
  })

  validation {
    condition     = length(var.network.client_networks) > 0
    error_message = "network.client_networks names one caller's network at least."
  }
}

variable "service_domain" {
  description = "Name of the vault for those who call it."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,}$", var.service_domain))
    error_message = "service_domain is a domain name in lower case."
  }
}

variable "database" {
  description = "Class and number of the database's instances, and whether it refuses to be deleted."
  type = object({
    instance_class      = optional(string, "db.r7g.large")
    instance_count      = optional(number, 2)
    deletion_protection = optional(bool, true)
  })
  default = {}

  validation {
    condition     = var.database.instance_count >= 2
    error_message = "database.instance_count is two at least: one instance cannot fail over."
  }
}

variable "checkpoint_retention_days" {
  description = "Days that nobody can delete checkpoints and the trail. There is no way back."
  type        = number
  default     = 400

  validation {
    condition     = var.checkpoint_retention_days >= 1 && var.checkpoint_retention_days <= 36500
    error_message = "checkpoint_retention_days is 1 to 36500; PCI-DSS 10.5.1 asks for 365 at least."
  }
}
