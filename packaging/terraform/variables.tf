variable "name" {
  type        = string
  description = "What the names of alarms, dashboard, queue and function begin with."
  default     = "chef-failover"

  validation {
    condition     = can(regex("^[a-zA-Z][a-zA-Z0-9-]{0,29}$", var.name))
    error_message = "A letter, then at most 29 letters, digits and hyphens."
  }
}

# --- The fleet's list of Chef servers: in a bucket that is made, or in a parameter

variable "list_bucket" {
  type        = string
  description = "The bucket to make for the fleet's list. Empty: none."
  default     = ""

  validation {
    condition     = can(regex("^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$", var.list_bucket))
    error_message = "The name of a bucket alone, without s3://."
  }
}

variable "list_key" {
  type        = string
  description = "The list's key in that bucket."
  default     = "chef-servers.yml"

  validation {
    condition     = can(regex("^[^/*?][^*?]*$", var.list_key))
    error_message = "A key without a slash at its beginning and without wildcards."
  }
}

variable "list_parameter" {
  type        = string
  description = "The parameter with the fleet's list, as config.yml has it after ssm:. Empty: none."
  default     = ""

  validation {
    condition     = can(regex("^(/[a-zA-Z0-9_./-]+)?$", var.list_parameter))
    error_message = "The name of a parameter, which begins with a slash."
  }
}

# --- What the nodes may use

variable "validator_secrets" {
  type        = list(string)
  description = "The secrets with the validators' keys, as config.yml has them after secretsmanager:, without #json-key."
  default     = []

  validation {
    condition     = alltrue([for name in var.validator_secrets : can(regex("^[a-zA-Z0-9/_+=.@-]+$", name))])
    error_message = "Names of secrets, without #json-key and without wildcards; no ARNs."
  }
}

variable "validator_parameters" {
  type        = list(string)
  description = "The parameters with the validators' keys, as config.yml has them after ssm:."
  default     = []

  validation {
    condition     = alltrue([for name in var.validator_parameters : can(regex("^/[a-zA-Z0-9_./-]+$", name))])
    error_message = "Names of parameters, which begin with a slash."
  }
}

variable "kms_key_arn" {
  type        = string
  description = "The customer managed key that encrypts the list, the validators' keys and the administrators' keys. Empty: AWS's own keys."
  default     = ""

  validation {
    condition     = can(regex("^(arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[a-zA-Z0-9-]+)?$", var.kms_key_arn))
    error_message = "The ARN of a key, not of an alias: arn:aws:kms:REGION:ACCOUNT:key/KEY_ID."
  }
}

variable "session_manager" {
  type        = bool
  description = "Attach AWS's policy for Session Manager. It also reads every parameter that no customer managed key encrypts."
  default     = true
}

# --- Monitoring

variable "log_group" {
  type        = string
  description = "The log group that the CloudWatch agent's configuration names."
  default     = "/chef-failover/metrics"

  validation {
    condition     = can(regex("^[a-zA-Z0-9_/.#-]+$", var.log_group))
    error_message = "The name of a log group."
  }
}

variable "retention_days" {
  type        = number
  description = "How long the log groups keep events, in days."
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653], var.retention_days)
    error_message = "A number of days that CloudWatch Logs knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365 and so on."
  }
}

variable "servers" {
  type        = list(string)
  description = "The names of the Chef servers, as in the list. Each has alarms of its own."
  default     = ["mainserver", "standbyserver"]

  validation {
    condition     = length(var.servers) > 0 && alltrue([for name in var.servers : can(regex("^[a-zA-Z0-9_.-]+$", name))])
    error_message = "One name at least, of letters, digits, dots, hyphens and underscores."
  }
}

variable "alarm_topic" {
  type        = string
  description = "The ARN of the SNS topic that alarms notify. Empty: no notification."
  default     = ""

  validation {
    condition     = can(regex("^(arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[a-zA-Z0-9_-]+)?$", var.alarm_topic))
    error_message = "The ARN of a topic: arn:aws:sns:REGION:ACCOUNT:NAME."
  }
}

# --- Instances

variable "image" {
  type        = string
  description = "The AMI of the nodes, or resolve:ssm:NAME of a parameter with it. Empty: no launch template."
  default     = ""

  validation {
    condition     = can(regex("^(ami-[0-9a-f]+|resolve:ssm:[a-zA-Z0-9_./:-]+)?$", var.image))
    error_message = "ami-… or resolve:ssm:NAME."
  }
}

variable "instance_type" {
  type        = string
  description = "Of the image's architecture."
  default     = "t3.small"

  validation {
    condition     = can(regex("^[a-z0-9-]+\\.[a-z0-9-]+$", var.instance_type))
    error_message = "A type of instance, such as t3.small or t4g.small."
  }
}

variable "user_data" {
  type        = string
  description = "The text of the user data: packaging/examples/user-data-of-ami.yml for a baked image, user-data.yml for Amazon's own."
  default     = ""

  validation {
    condition     = var.user_data == "" || startswith(var.user_data, "#")
    error_message = "The text itself, which begins with #cloud-config or #!, not a path."
  }
}

variable "security_groups" {
  type        = list(string)
  description = "The security groups of the nodes. They let the nodes reach the Chef servers and AWS; nothing has to come in."
  default     = []

  validation {
    condition     = alltrue([for id in var.security_groups : startswith(id, "sg-")])
    error_message = "Ids of security groups."
  }
}

variable "subnets" {
  type        = list(string)
  description = "The subnets of the Auto Scaling group. None: no group."
  default     = []

  validation {
    condition     = alltrue([for id in var.subnets : startswith(id, "subnet-")])
    error_message = "Ids of subnets."
  }
}

variable "min_size" {
  type        = number
  description = "The fewest nodes of the group."
  default     = 1

  validation {
    condition     = var.min_size >= 0
    error_message = "Not negative."
  }
}

variable "max_size" {
  type        = number
  description = "The most nodes of the group."
  default     = 4

  validation {
    condition     = var.max_size >= 1
    error_message = "One at least."
  }
}

# --- Retiring nodes whose instance is terminated

variable "retire_credentials" {
  type        = string
  description = "The ARN of the secret with the administrators' keys, as a Chef credentials file. Empty: terminated nodes stay on the servers."
  default     = ""

  validation {
    condition     = can(regex("^(arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[a-zA-Z0-9/_+=.@-]+)?$", var.retire_credentials))
    error_message = "The whole ARN of a secret, without wildcards."
  }
}

variable "retire_zip" {
  type        = string
  description = "The path of chef-failover-retire.zip."
  default     = "chef-failover-retire.zip"

  validation {
    condition     = endswith(var.retire_zip, ".zip")
    error_message = "The path of a zip file."
  }
}

variable "retire_tag" {
  type        = string
  description = "Only instances with this tag are retired. The group's instances get it."
  default     = "chef-failover=node"

  validation {
    condition     = can(regex("^[^=]+=[^=]+$", var.retire_tag)) && !startswith(lower(var.retire_tag), "aws:")
    error_message = "KEY=VALUE, and not aws: at the beginning, which is AWS's own."
  }
}

variable "retire_subnets" {
  type        = list(string)
  description = "Private subnets from which the function reaches the Chef servers. They need a way to EC2 and Secrets Manager, too. None: it uses the internet."
  default     = []

  validation {
    condition     = alltrue([for id in var.retire_subnets : startswith(id, "subnet-")])
    error_message = "Ids of subnets."
  }
}

variable "retire_security_groups" {
  type        = list(string)
  description = "The function's security groups in these subnets."
  default     = []

  validation {
    condition     = alltrue([for id in var.retire_security_groups : startswith(id, "sg-")])
    error_message = "Ids of security groups."
  }
}

variable "retire_layers" {
  type        = list(string)
  description = "The ARNs of Lambda layers whose folder trusted_certs has the certificates of the Chef servers' own CA."
  default     = []

  validation {
    condition     = alltrue([for arn in var.retire_layers : can(regex("^arn:[a-z-]+:lambda:[a-z0-9-]+:[0-9]{12}:layer:[a-zA-Z0-9_-]+:[0-9]+$", arn))])
    error_message = "ARNs of layers with their version: arn:aws:lambda:REGION:ACCOUNT:layer:NAME:1."
  }
}
