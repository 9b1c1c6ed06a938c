# Instances of the image that packaging/packer bakes: IMDSv2 alone, and leave to read the validator's key, nothing else.

variable "validator_secret" {
  type        = string
  description = "The name of the secret with the validator's key, as in config.yml: secretsmanager:NAME."
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
    values = ["x86_64"]
  }
}

data "aws_secretsmanager_secret" "validator" {
  name = var.validator_secret
}

data "aws_iam_policy_document" "ec2" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "node" {
  statement {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [data.aws_secretsmanager_secret.validator.arn]
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

resource "aws_iam_instance_profile" "node" {
  role = aws_iam_role.node.name
}

resource "aws_launch_template" "node" {
  name_prefix   = "chef-failover-"
  image_id      = data.aws_ami.node.id
  instance_type = "t3.small"
  user_data     = filebase64("${path.module}/user-data-of-ami.yml")

  iam_instance_profile {
    arn = aws_iam_instance_profile.node.arn
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
}
