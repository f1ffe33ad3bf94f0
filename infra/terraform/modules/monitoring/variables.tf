variable "subscribers" {
  description = "Addresses of email that alarms go to; each has to be confirmed."
  type        = set(string)

  validation {
    condition     = length(var.subscribers) > 0 && alltrue([for address in var.subscribers : can(regex("^[^@ ]+@[^@ ]+$", address))])
    error_message = "subscribers are addresses of email, one at least: an alarm that nobody hears is none (PCI-DSS 10.7.2)."
  }
}

variable "log_group_names" {
  description = "Log groups that are watched: trail, service, database, flows, dns."
  type = object({
    trail    = string
    service  = string
    database = string
    flows    = string
    dns      = string
  })

  validation {
    condition     = alltrue([for name in values(var.log_group_names) : startswith(name, "/")])
    error_message = "log_group_names are names of log groups, which begin with a slash here."
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

variable "role_arns" {
  description = "Roles that are watched: service, whose use of the keys is expected, and break_glass."
  type = object({
    service     = string
    break_glass = string
  })

  validation {
    condition     = alltrue([for arn in values(var.role_arns) : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/", arn))])
    error_message = "role_arns are ARNs of IAM roles."
  }
}

variable "balancer" {
  description = "The application balancer and its targets, as CloudWatch names them, and how many tasks there are at least."
  type = object({
    name         = string
    target_group = string
    tasks        = number
  })

  validation {
    condition     = startswith(var.balancer.name, "app/") && startswith(var.balancer.target_group, "targetgroup/") && var.balancer.tasks >= 1
    error_message = "balancer.name looks like app/…, balancer.target_group like targetgroup/…; tasks is 1 at least."
  }
}

variable "cluster_name" {
  description = "ECS cluster of the service, of which failed deployments are told."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,255}$", var.cluster_name))
    error_message = "cluster_name is the name of an ECS cluster."
  }
}
