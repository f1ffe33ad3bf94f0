variable "endpoint" {
  description = "URL of the server that plays AWS."
  type        = string

  validation {
    condition     = can(regex("^http://(127\\.0\\.0\\.1|localhost):[0-9]+$", var.endpoint))
    error_message = "endpoint is on this machine, such as http://127.0.0.1:5000: this root is for tests."
  }
}

variable "client_networks" {
  description = "Addresses of callers by name; tests change them to see a plan change."
  type        = map(string)
  default     = { core = "10.0.0.0/16" }

  validation {
    condition     = length(var.client_networks) > 0
    error_message = "client_networks names one network at least."
  }
}
