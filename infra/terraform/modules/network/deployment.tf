variable "deployment" {
  description = "Which vault this is: its name and stage, the partition, region and account it lies in, and the organization that its callers and administrators belong to."
  type = object({
    name            = string
    stage           = string
    partition       = string
    region          = string
    account_id      = string
    organization_id = string
  })

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,19}$", var.deployment.name))
    error_message = "deployment.name is 3 to 20 lower-case letters, digits and hyphens, and begins with a letter."
  }
  validation {
    condition     = contains(["dev", "test", "prod"], var.deployment.stage)
    error_message = "deployment.stage is dev, test or prod: the service's STRONGROOM_ENV."
  }
  validation {
    condition     = contains(["aws", "aws-us-gov"], var.deployment.partition)
    error_message = "deployment.partition is aws or aws-us-gov: names of services end in amazonaws.com."
  }
  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.deployment.region))
    error_message = "deployment.region is a region's name, such as eu-west-1."
  }
  validation {
    condition     = can(regex("^[0-9]{12}$", var.deployment.account_id))
    error_message = "deployment.account_id has 12 digits."
  }
  validation {
    condition     = can(regex("^o-[a-z0-9]{10,32}$", var.deployment.organization_id))
    error_message = "deployment.organization_id looks like o-abcdefghij."
  }
}
