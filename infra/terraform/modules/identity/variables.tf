variable "key_arns" {
  description = "ARNs of the KMS keys, as the module kms gives them."
  type = object({
    pci     = string
    pii     = string
    signing = string
    reports = string
    storage = string
  })

  validation {
    condition     = alltrue([for arn in values(var.key_arns) : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/", arn))])
    error_message = "key_arns are ARNs of keys, not of aliases: an alias can be pointed elsewhere."
  }
}

variable "trail_key_arn" {
  description = "KMS key of the audit account that the trail is encrypted with: auditors open it."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/", var.trail_key_arn))
    error_message = "trail_key_arn is the ARN of a key, not of an alias."
  }
}

variable "bucket_names" {
  description = "Buckets: checkpoints and trail (of the audit account), reports."
  type = object({
    checkpoints = string
    trail       = string
    reports     = string
  })

  validation {
    condition     = alltrue([for name in values(var.bucket_names) : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", name))])
    error_message = "bucket_names are names of S3 buckets."
  }
}

variable "database_resource_id" {
  description = "The cluster's resource id, which names it in rights to log in."
  type        = string

  validation {
    condition     = can(regex("^cluster-[A-Za-z0-9]+$", var.database_resource_id))
    error_message = "database_resource_id looks like cluster-ABCDEFGHIJKL01234."
  }
}

variable "database_logins" {
  description = "Logins of PostgreSQL by who uses them."
  type = object({
    service  = string
    sealer   = string
    auditor  = string
    migrator = string
  })
  default = {
    service  = "strongroom_app"
    sealer   = "strongroom_seal"
    auditor  = "strongroom_audit"
    migrator = "strongroom_migrator"
  }

  validation {
    condition     = alltrue([for login in values(var.database_logins) : can(regex("^[a-z_][a-z0-9_]{0,62}$", login))])
    error_message = "database_logins are names of PostgreSQL roles: lower-case letters, digits and underscores."
  }
  validation {
    condition     = length(distinct(values(var.database_logins))) == 4
    error_message = "database_logins differ from each other: one login would have the rights of both."
  }
}

variable "reports" {
  description = "Names of the reports that have a job of their own, as in reporting_jobs/reports/."
  type        = set(string)
  default = [
    "access_review", "audit_seal", "audit_verify", "breach_notification", "chargeback_file",
    "pci_inventory", "retention_purge", "sanctions_screening", "subject_access",
  ]

  validation {
    condition     = length(var.reports) > 0 && alltrue([for name in var.reports : can(regex("^[a-z][a-z0-9_]{1,40}$", name))])
    error_message = "reports are names such as audit_seal."
  }
}

variable "person_role_arns" {
  description = "Federated roles of people, in any account of the organization, by what they may become here: auditor, key_administrator. That they signed in with a second factor is the identity provider's to see to (PCI-DSS 8.4.2)."
  type = object({
    auditor           = set(string)
    key_administrator = set(string)
  })

  validation {
    condition     = alltrue([for arns in values(var.person_role_arns) : length(arns) > 0 && alltrue([for arn in arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/", arn))])])
    error_message = "person_role_arns are ARNs of IAM roles, one at least for each."
  }
  validation {
    condition     = length(setintersection(var.person_role_arns.auditor, var.person_role_arns.key_administrator)) == 0
    error_message = "Nobody administers keys and audits that (PCI-DSS 6.5.4, 7.2.2)."
  }
}

variable "break_glass_user_arns" {
  description = "IAM users with a hardware key each, kept in an envelope: who can destroy keys when all else fails. Users, so that it works without the identity provider, and each use needs the second factor."
  type        = set(string)

  validation {
    condition     = length(var.break_glass_user_arns) >= 2 && alltrue([for arn in var.break_glass_user_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:user/", arn))])
    error_message = "break_glass_user_arns are ARNs of IAM users, two at least: one envelope can burn."
  }
}
