variable "region" {
  description = "Region that the vault lies in."
  type        = string
  default     = "eu-west-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region is a region's name, such as eu-west-1."
  }
}

variable "account_id" {
  description = "The vault's account: nothing else lies in it."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id has 12 digits."
  }
}

variable "audit_account_id" {
  description = "The account that keeps checkpoints and the trail; who runs the vault has no rights in it."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.audit_account_id))
    error_message = "audit_account_id has 12 digits."
  }
}

variable "organization_id" {
  description = "The AWS organization that callers and administrators belong to."
  type        = string

  validation {
    condition     = can(regex("^o-[a-z0-9]{10,32}$", var.organization_id))
    error_message = "organization_id looks like o-abcdefghij."
  }
}

variable "deployer_role_arns" {
  description = "Roles that apply this: of the vault's account and of the audit account."
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

variable "certificate_arn" {
  description = "Certificate for service_domain in ACM, of the vault's account and region."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/", var.certificate_arn))
    error_message = "certificate_arn is the ARN of a certificate in ACM."
  }
}

variable "consumer_arns" {
  description = "Accounts, users or roles of callers that may make an endpoint to the vault."
  type        = set(string)

  validation {
    condition     = alltrue([for arn in var.consumer_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(root|role/.+|user/.+)$", arn))])
    error_message = "consumer_arns are ARNs of IAM, such as arn:aws:iam::111122223333:root; everybody (*) is refused."
  }
}

variable "images" {
  description = "Container images by digest, in the vault's own registry: service and collector."
  type = object({
    service   = string
    collector = string
  })

  validation {
    condition     = alltrue([for image in values(var.images) : can(regex("@sha256:[0-9a-f]{64}$", image))])
    error_message = "images are named by digest (…@sha256:…): a tag can be pointed elsewhere."
  }
}

variable "audit_origin" {
  description = "The name of the log in its checkpoints. Choose one and keep it."
  type        = string

  validation {
    condition     = can(regex("^[!-*,-~]+$", var.audit_origin))
    error_message = "audit_origin is printable ASCII without spaces and plus signs, such as vault.example.com/audit."
  }
}

variable "log_key" {
  description = "The log's public key as `GET /v1/audit/key` gives it, for the report jobs; empty until the service has run for the first time."
  type        = string
  default     = ""

  validation {
    condition     = var.log_key == "" || can(regex("^[^ +]+\\+[0-9a-f]{8}\\+[A-Za-z0-9+/=]+$", var.log_key))
    error_message = "log_key is a verifier key: name+hash+key."
  }
}

variable "sts_audience" {
  description = "What a caller's presigned request to STS has to name, so that one that was made for another service is of no use here."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9._:/-]{1,200}$", var.sts_audience))
    error_message = "sts_audience is a name such as vault.example.com."
  }
}

variable "alarm_subscribers" {
  description = "Addresses of email that alarms go to; each has to be confirmed."
  type        = set(string)

  validation {
    condition     = length(var.alarm_subscribers) > 0
    error_message = "alarm_subscribers names one address at least: an alarm that nobody hears is none."
  }
}

variable "database" {
  description = "Class and number of the database's instances, and whether SQL can be sent through AWS's Data API: on for the first set-up of the logins, off ever after."
  type = object({
    instance_class = optional(string, "db.r7g.large")
    instance_count = optional(number, 2)
    data_api       = optional(bool, false)
  })
  default = {}

  validation {
    condition     = var.database.instance_count >= 2
    error_message = "database.instance_count is two at least: one instance cannot fail over."
  }
}

variable "replicas" {
  description = "Least and greatest number of the service's tasks."
  type = object({
    least    = optional(number, 3)
    greatest = optional(number, 12)
  })
  default = {}

  validation {
    condition     = var.replicas.least >= 2 && var.replicas.greatest >= var.replicas.least
    error_message = "replicas.least is 2 or more, replicas.greatest no fewer."
  }
}

variable "checkpoint_retention_days" {
  description = "Days that nobody can delete checkpoints and the trail. There is no way back."
  type        = number
  default     = 400

  validation {
    condition     = var.checkpoint_retention_days >= 365 && var.checkpoint_retention_days <= 36500
    error_message = "checkpoint_retention_days is 365 to 36500 (PCI-DSS 10.5.1)."
  }
}

variable "deletion_protection" {
  description = "Whether database and balancers refuse to be deleted. Switched off only to retire a vault."
  type        = bool
  default     = true
}
