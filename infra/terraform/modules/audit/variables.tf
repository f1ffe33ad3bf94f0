variable "audit_account_id" {
  description = "The account that keeps what the vault's account must not be able to change."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.audit_account_id))
    error_message = "audit_account_id has 12 digits."
  }
}

variable "administrator_arns" {
  description = "Roles of the audit account that manage its key: the one that applies this among them."
  type        = set(string)

  validation {
    condition     = length(var.administrator_arns) > 0 && alltrue([for arn in var.administrator_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/", arn))])
    error_message = "administrator_arns are ARNs of IAM roles, one at least."
  }
}

variable "writer_role_arns" {
  description = "Roles of the vault's account that keep checkpoints: service and sealer."
  type        = set(string)

  validation {
    condition     = length(var.writer_role_arns) > 0 && alltrue([for arn in var.writer_role_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/", arn))])
    error_message = "writer_role_arns are ARNs of IAM roles."
  }
}

variable "auditor_role_arn" {
  description = "Role of the vault's account that reads what is kept."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/", var.auditor_role_arn))
    error_message = "auditor_role_arn is the ARN of an IAM role."
  }
}

variable "endpoint_id" {
  description = "The vault's endpoint of S3: checkpoints are written through it and from nowhere else."
  type        = string

  validation {
    condition     = can(regex("^vpce-[0-9a-f]+$", var.endpoint_id))
    error_message = "endpoint_id looks like vpce-0123456789abcdef0."
  }
}

variable "watched_bucket_names" {
  description = "Buckets beside those of this module of which every reading and writing of an object is on the trail."
  type        = set(string)

  validation {
    condition     = alltrue([for name in var.watched_bucket_names : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", name))])
    error_message = "watched_bucket_names are names of S3 buckets."
  }
}

variable "retention_days" {
  description = "Days that nobody can delete what is kept, the root user included. There is no way back: try with few in a test account."
  type        = number
  default     = 400

  validation {
    condition     = var.retention_days >= 1 && var.retention_days <= 36500 && floor(var.retention_days) == var.retention_days
    error_message = "retention_days is a whole number from 1 to 36500; PCI-DSS 10.5.1 asks for 365 at least."
  }
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary, in the vault's account, of the role that copies the trail into its logs."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:policy/", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn is the ARN of an IAM policy."
  }
}

variable "log_key_arn" {
  description = "KMS key, in the vault's account, that log groups are encrypted with."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:kms:", var.log_key_arn))
    error_message = "log_key_arn is the ARN of a KMS key."
  }
}

variable "log_retention_days" {
  description = "Days that the trail's copy in CloudWatch Logs is kept."
  type        = number
  default     = 400

  validation {
    condition     = contains([365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days is a period that CloudWatch Logs knows, of 365 days at least (PCI-DSS 10.5.1)."
  }
}
