# Instances of the image that packaging/packer bakes: IMDSv2 alone, and leave to read the validators' keys, to be reached
# by Session Manager, and to send the CloudWatch agent's metrics. Nothing else.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "validator_secrets" {
  type        = set(string)
  description = "The names of the secrets with the validators' keys, as in config.yml: secretsmanager:NAME, without #json-key."

  validation {
    condition     = length(var.validator_secrets) > 0 && alltrue([for name in var.validator_secrets : !can(regex("[#*?]", name))])
    error_message = "Name one secret at least, without a wildcard and without #json-key."
  }
}

variable "kms_keys" {
  type        = set(string)
  description = "The ARNs of the customer managed keys that encrypt these secrets. None for the account's own key."
  default     = []

  validation {
    condition     = alltrue([for arn in var.kms_keys : can(regex("^arn:[a-z-]+:kms:[^:]+:[0-9]{12}:key/[^*?]+$", arn))])
    error_message = "Each is the ARN of a key, not of an alias: arn:aws:kms:REGION:ACCOUNT:key/KEY_ID."
  }
}

variable "architecture" {
  type        = string
  description = "What EC2 calls it: x86_64 or arm64."
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "It is x86_64 or arm64."
  }
}

variable "metrics_log_group" {
  type        = string
  description = "The log group of cloudwatch/amazon-cloudwatch-agent.json."
  default     = "/chef-failover/metrics"
}

data "aws_partition" "current" {}
data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  log_group_arn = join(":", [
    "arn:${data.aws_partition.current.partition}:logs:${data.aws_region.current.id}",
    "${data.aws_caller_identity.current.account_id}:log-group:${var.metrics_log_group}",
  ])
}

data "aws_ami" "node" {
  owners      = ["self"]
  most_recent = true

  filter {
    name   = "tag:Name"
    values = ["chef-failover"]
  }
  filter {
    name   = "architecture"
    values = [var.architecture]
  }
}

data "aws_secretsmanager_secret" "validator" {
  for_each = var.validator_secrets
  name     = each.value
}

data "aws_iam_policy_document" "ec2" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.${data.aws_partition.current.dns_suffix}"]
    }
  }
}

data "aws_iam_policy_document" "node" {
  statement {
    sid       = "ReadTheValidatorKeys"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [for secret in data.aws_secretsmanager_secret.validator : secret.arn]
  }

  dynamic "statement" {
    for_each = length(var.kms_keys) > 0 ? [1] : []
    content {
      sid       = "DecryptThem"
      actions   = ["kms:Decrypt"]
      resources = var.kms_keys
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = [for suffix in ["amazonaws.com", "amazonaws.com.cn"] : "secretsmanager.${data.aws_region.current.id}.${suffix}"]
      }
    }
  }

  statement {
    sid     = "SendTheAgentsMetrics"
    actions = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = [
      local.log_group_arn,
      "${local.log_group_arn}:*",
    ]
  }
}

resource "aws_iam_role" "node" {
  name_prefix        = "chef-failover-"
  assume_role_policy = data.aws_iam_policy_document.ec2.json
}

resource "aws_iam_role_policy" "node" {
  role   = aws_iam_role.node.id
  policy = data.aws_iam_policy_document.node.json
}

# Session Manager, by which docs/operating.md reaches the status page. AWS's policy for it also lets nodes read every
# parameter of the Parameter Store that no customer managed key encrypts: keep no validator's key there, or leave this out.
resource "aws_iam_role_policy_attachment" "session_manager" {
  role       = aws_iam_role.node.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "node" {
  role = aws_iam_role.node.name
}

# An image that is encrypted with a customer managed key starts in an Auto Scaling group only if that key's policy lets
# AWSServiceRoleForAutoScaling use it and create grants.
resource "aws_launch_template" "node" {
  name_prefix            = "chef-failover-"
  image_id               = data.aws_ami.node.id
  instance_type          = { x86_64 = "t3.small", arm64 = "t4g.small" }[var.architecture]
  user_data              = filebase64("${path.module}/user-data-of-ami.yml")
  update_default_version = true

  iam_instance_profile {
    arn = aws_iam_instance_profile.node.arn
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
}
