variable "administrator_arns" {
  description = "Roles that manage the keys and cannot use them: the key administrators', and the one that applies this."
  type        = set(string)

  validation {
    condition     = length(var.administrator_arns) > 0 && alltrue([for arn in var.administrator_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/", arn))])
    error_message = "administrator_arns are ARNs of IAM roles, one at least: without it nobody could change a key's policy."
  }
}

variable "role_arns" {
  description = "Roles of the vault's account that the keys know: break_glass, service, sealer, auditor."
  type = object({
    break_glass = string
    service     = string
    sealer      = string
    auditor     = string
  })

  validation {
    condition     = alltrue([for arn in values(var.role_arns) : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/", arn))])
    error_message = "role_arns are ARNs of IAM roles."
  }
}

variable "report_job_role_arns" {
  description = "Roles of the report jobs, by report: they seal to the reports key and open nothing."
  type        = map(string)

  validation {
    condition     = alltrue([for arn in values(var.report_job_role_arns) : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/", arn))])
    error_message = "report_job_role_arns are ARNs of IAM roles."
  }
}

variable "report_reader_arns" {
  description = "Roles, in the readers' accounts, that open sealed reports."
  type        = set(string)

  validation {
    condition     = length(var.report_reader_arns) > 0 && alltrue([for arn in var.report_reader_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/", arn))])
    error_message = "report_reader_arns are ARNs of IAM roles, one at least: a report that nobody can open is of no use."
  }
}

variable "endpoint_id" {
  description = "The VPC's endpoint of KMS: vault keys are used through it and from nowhere else."
  type        = string

  validation {
    condition     = can(regex("^vpce-[0-9a-f]+$", var.endpoint_id))
    error_message = "endpoint_id looks like vpce-0123456789abcdef0."
  }
}
