# What the nodes may do: what config.yml asks for, as packaging/iam has it, and to send the CloudWatch agent's metrics.

locals {
  node_uses = {
    s3             = var.list_bucket != ""
    ssm-list       = var.list_parameter != ""
    secretsmanager = length(var.validator_secrets) > 0
    ssm            = length(var.validator_parameters) > 0
  }
  node_statements = {
    s3 = {
      Sid      = "ReadTheFleetsList"
      Effect   = "Allow"
      Action   = "s3:GetObject"
      Resource = ["arn:${local.partition}:s3:::${var.list_bucket}/${var.list_key}"]
    }
    ssm-list = {
      Sid      = "ReadTheFleetsList"
      Effect   = "Allow"
      Action   = "ssm:GetParameter"
      Resource = ["arn:${local.partition}:ssm:${local.region}:${local.account}:parameter${var.list_parameter}"]
    }
    secretsmanager = {
      Sid      = "ReadTheValidatorKey"
      Effect   = "Allow"
      Action   = "secretsmanager:GetSecretValue"
      Resource = [for name in var.validator_secrets : "arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret:${name}-??????"]
    }
    ssm = {
      Sid      = "ReadTheValidatorKey"
      Effect   = "Allow"
      Action   = "ssm:GetParameter"
      Resource = [for name in var.validator_parameters : "arn:${local.partition}:ssm:${local.region}:${local.account}:parameter${name}"]
    }
  }

  # By service, and there by parameter: AWS's policy for Session Manager lets nodes ask for every parameter.
  decrypt = { for name, statement in local.node_statements : name => [for arn in compact([var.kms_key_arn]) : {
    Sid      = "OnlyIfACustomerManagedKeyEncryptsIt"
    Effect   = "Allow"
    Action   = "kms:Decrypt"
    Resource = arn
    Condition = { StringEquals = merge(
      { "kms:ViaService" = [for suffix in ["", ".cn"] : "${trimsuffix(name, "-list")}.${local.region}.amazonaws.com${suffix}"] },
      { for key in ["kms:EncryptionContext:PARAMETER_ARN"] : key => statement.Resource if trimsuffix(name, "-list") == "ssm" },
    ) }
  }] }
}

resource "aws_iam_role" "node" {
  name_prefix = "${var.name}-node-"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.${local.dns_suffix}" }
    }]
  })
}

resource "aws_iam_role_policy" "node" {
  for_each = { for name, statement in local.node_statements : name => statement if local.node_uses[name] }

  name = each.key
  role = aws_iam_role.node.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat([each.value], local.decrypt[each.key])
  })
}

resource "aws_iam_role_policy" "metrics" {
  name = "metrics"
  role = aws_iam_role.node.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "SendTheAgentsMetrics"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Resource = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${var.log_group}:*"
    }]
  })
}

resource "aws_iam_role_policy_attachment" "session_manager" {
  count      = var.session_manager ? 1 : 0
  role       = aws_iam_role.node.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "node" {
  name_prefix = "${var.name}-node-"
  role        = aws_iam_role.node.name
}
