variable "network" {
  description = "Where the service lies, as the module network gives it: VPC, subnets by tier, security groups by name, addresses of the balancers' subnets."
  type = object({
    vpc_id             = string
    subnet_ids         = map(list(string))
    security_group_ids = map(string)
    entrance_networks  = list(string)
  })

  validation {
    condition     = length(setsubtract(["entrance", "service"], keys(var.network.subnet_ids))) == 0 && length(setsubtract(["entrance", "balancer", "service", "jobs"], keys(var.network.security_group_ids))) == 0
    error_message = "network.subnet_ids has the tiers entrance and service, network.security_group_ids the groups entrance, balancer, service and jobs."
  }
}

variable "service_domain" {
  description = "Name of the vault for those who call it; the certificate is for it."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,}$", var.service_domain))
    error_message = "service_domain is a domain name in lower case."
  }
}

variable "certificate_arn" {
  description = "Certificate for service_domain in ACM, of this account and region."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/", var.certificate_arn))
    error_message = "certificate_arn is the ARN of a certificate in ACM."
  }
}

variable "consumer_arns" {
  description = "Accounts, users or roles of callers that may make an endpoint to the vault. Each connection is accepted by hand besides."
  type        = set(string)

  validation {
    condition     = alltrue([for arn in var.consumer_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(root|role/.+|user/.+)$", arn))])
    error_message = "consumer_arns are ARNs of IAM, such as arn:aws:iam::111122223333:root; everybody (*) is refused."
  }
}

variable "database" {
  description = "Where the database is, its logins (service, sealer, migrator), and the file in the image that its certificate is verified by: Amazon's bundle for RDS."
  type = object({
    endpoint         = string
    port             = number
    name             = string
    logins           = map(string)
    root_certificate = optional(string, "/etc/strongroom/rds-global-bundle.pem")
  })

  validation {
    condition     = length(setsubtract(["service", "sealer", "migrator"], keys(var.database.logins))) == 0
    error_message = "database.logins has service, sealer and migrator."
  }
  validation {
    condition     = can(regex("^/[A-Za-z0-9_./-]+$", var.database.root_certificate))
    error_message = "database.root_certificate is the path of a file in the image."
  }
}

variable "images" {
  description = "Container images by digest, in this account's registry: service, and collector (AWS Distro for OpenTelemetry), which carries metrics out."
  type = object({
    service   = string
    collector = string
  })

  validation {
    condition     = alltrue([for image in values(var.images) : can(regex("^[0-9]{12}\\.dkr\\.ecr\\.[a-z0-9-]+\\.amazonaws\\.com/[a-z0-9/_.-]+@sha256:[0-9a-f]{64}$", image))])
    error_message = "images are named by digest (…@sha256:…) in a registry of ECR: a tag can be pointed elsewhere, and there is no way to another registry."
  }
}

variable "role_arns" {
  description = "Roles of tasks, service and migrator, as the module identity gives them."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["service", "migrator"], keys(var.role_arns))) == 0
    error_message = "role_arns has service and migrator."
  }
}

variable "agent_role_arns" {
  description = "Roles with which ECS starts tasks: service and operations."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["service", "operations"], keys(var.agent_role_arns))) == 0
    error_message = "agent_role_arns has service and operations."
  }
}

variable "report_job_role_arns" {
  description = "Roles of the report jobs, by report, with that of the queue's worker."
  type        = map(string)

  validation {
    condition     = contains(keys(var.report_job_role_arns), "queue_worker")
    error_message = "report_job_role_arns has queue_worker."
  }
}

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
    error_message = "key_arns are ARNs of keys, not of aliases."
  }
}

variable "checkpoints" {
  description = "Where checkpoints are kept, and for how many days."
  type = object({
    location       = string
    retention_days = number
  })

  validation {
    condition     = startswith(var.checkpoints.location, "s3://") && var.checkpoints.retention_days >= 1
    error_message = "checkpoints.location looks like s3://bucket/prefix; retention_days is 1 at least."
  }
}

variable "report_bucket_name" {
  description = "Bucket, made here, of sealed outputs of reports."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.report_bucket_name))
    error_message = "report_bucket_name is the name of an S3 bucket."
  }
}

variable "alarm_topic_arn" {
  description = "SNS topic that the report jobs' alarms go to."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:sns:", var.alarm_topic_arn))
    error_message = "alarm_topic_arn is the ARN of an SNS topic."
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

variable "task" {
  description = "Size of a task: processor units (1024 are one), MiB of memory, processes of the service."
  type = object({
    cpu     = optional(number, 2048)
    memory  = optional(number, 4096)
    workers = optional(number, 2)
  })
  default = {}

  validation {
    condition     = contains([1024, 2048, 4096, 8192, 16384], var.task.cpu) && var.task.memory >= var.task.cpu * 2 && var.task.workers >= 1 && var.task.workers <= 256
    error_message = "task.cpu is 1024, 2048, 4096, 8192 or 16384, task.memory twice as many MiB at least, task.workers 1 to 256."
  }
}

variable "replicas" {
  description = "Least and greatest number of tasks."
  type = object({
    least    = optional(number, 3)
    greatest = optional(number, 12)
  })
  default = {}

  validation {
    condition     = var.replicas.least >= 2 && var.replicas.greatest >= var.replicas.least
    error_message = "replicas.least is 2 or more, replicas.greatest no fewer: with one, a deployment or a zone that is lost is an outage."
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

variable "deletion_protection" {
  description = "Whether the balancers refuse to be deleted. Switched off only to retire a vault."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 400

  validation {
    condition     = contains([365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days is a period that CloudWatch Logs knows, of 365 days at least (PCI-DSS 10.5.1)."
  }
}
