variable "subnet_ids" {
  description = "Subnets of the database, one a zone."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2 && alltrue([for id in var.subnet_ids : can(regex("^subnet-[0-9a-f]+$", id))])
    error_message = "subnet_ids are ids of subnets, two at least."
  }
}

variable "security_group_id" {
  description = "Security group of the database."
  type        = string

  validation {
    condition     = can(regex("^sg-[0-9a-f]+$", var.security_group_id))
    error_message = "security_group_id looks like sg-0123456789abcdef0."
  }
}

variable "storage_key_arn" {
  description = "KMS key of disks, backups, performance insights, the master's secret and the logs."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:kms:", var.storage_key_arn))
    error_message = "storage_key_arn is the ARN of a KMS key."
  }
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the role that writes the instances' measurements."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:policy/", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn is the ARN of an IAM policy."
  }
}

variable "engine_version" {
  description = "Version of Aurora PostgreSQL; Strongroom needs 15 or newer."
  type        = string
  default     = "17.5"

  validation {
    condition     = can(regex("^(1[5-9]|[2-9][0-9])\\.[0-9]+$", var.engine_version))
    error_message = "engine_version is 15 or newer, with its minor version, such as 17.5."
  }
}

variable "instance_class" {
  description = "Class of the instances."
  type        = string
  default     = "db.r7g.large"

  validation {
    condition     = can(regex("^db\\.[a-z0-9]+\\.[a-z0-9]+$", var.instance_class))
    error_message = "instance_class looks like db.r7g.large."
  }
}

variable "instance_count" {
  description = "Instances: a writer and those that take over."
  type        = number
  default     = 2

  validation {
    condition     = var.instance_count >= 2 && var.instance_count <= 15
    error_message = "instance_count is 2 to 15: one instance cannot fail over."
  }
}

variable "database_name" {
  description = "Name of the database."
  type        = string
  default     = "strongroom"

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.database_name))
    error_message = "database_name is lower-case letters, digits and underscores."
  }
}

variable "backup_retention_days" {
  description = "Days that automatic backups go back."
  type        = number
  default     = 35

  validation {
    condition     = var.backup_retention_days >= 7 && var.backup_retention_days <= 35
    error_message = "backup_retention_days is 7 to 35."
  }
}

variable "data_api" {
  description = "Whether SQL can be sent through AWS's Data API: on for the first set-up of the logins, off ever after."
  type        = bool
  default     = false
}

variable "deletion_protection" {
  description = "Whether the cluster refuses to be deleted. Switched off only to retire a vault."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "Days that PostgreSQL's log is kept."
  type        = number
  default     = 400

  validation {
    condition     = contains([365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days is a period that CloudWatch Logs knows, of 365 days at least (PCI-DSS 10.5.1)."
  }
}
