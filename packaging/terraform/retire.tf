# Optional: takes nodes off all Chef servers when EC2 has terminated their instances. EventBridge puts the event into a
# queue, and the function of packaging/lambda takes it from there. While a server is down, events wait for up to three days:
# the function puts each back with the tag that it has seen, since EC2 forgets that.

locals {
  retires = var.retire_credentials == "" ? 0 : 1
  retire  = "${var.name}-retire"
}

resource "aws_cloudwatch_event_rule" "terminated" {
  count       = local.retires
  name        = "${var.name}-terminated"
  description = "Instances that are gone, for ${local.retire}."
  event_pattern = jsonencode({
    source      = ["aws.ec2"]
    detail-type = ["EC2 Instance State-change Notification"]
    detail      = { state = ["terminated"] }
  })
}

resource "aws_cloudwatch_event_target" "terminated" {
  count = local.retires
  rule  = aws_cloudwatch_event_rule.terminated[0].name
  arn   = aws_sqs_queue.retire[0].arn
}

resource "aws_sqs_queue" "retire" {
  count                      = local.retires
  name                       = local.retire
  sqs_managed_sse_enabled    = true
  message_retention_seconds  = 1209600
  visibility_timeout_seconds = 720
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead[0].arn
    maxReceiveCount     = 360 # times 12 min
  })
}

resource "aws_sqs_queue" "dead" {
  count                     = local.retires
  name                      = "${local.retire}-dead"
  sqs_managed_sse_enabled   = true
  message_retention_seconds = 1209600
}

resource "aws_sqs_queue_policy" "retire" {
  count     = local.retires
  queue_url = aws_sqs_queue.retire[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OnlyTheRuleSends"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = aws_sqs_queue.retire[0].arn
      Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.terminated[0].arn } }
    }]
  })
}

resource "aws_cloudwatch_log_group" "retire" {
  count             = local.retires
  name              = "/aws/lambda/${local.retire}"
  retention_in_days = var.retention_days
}

resource "aws_iam_role" "retire" {
  count       = local.retires
  name_prefix = "${local.retire}-"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "retire" {
  count = local.retires
  name  = "retire"
  role  = aws_iam_role.retire[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "TakeEventsAndPutThemBack"
          Effect   = "Allow"
          Action   = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:SendMessage"]
          Resource = aws_sqs_queue.retire[0].arn
        },
        {
          Sid      = "LookForTheTag"
          Effect   = "Allow"
          Action   = "ec2:DescribeInstances"
          Resource = "*"
        },
        {
          Sid      = "ReadTheAdministratorsKeys"
          Effect   = "Allow"
          Action   = "secretsmanager:GetSecretValue"
          Resource = var.retire_credentials
        },
        {
          Sid      = "Log"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = "${aws_cloudwatch_log_group.retire[0].arn}:*"
        },
      ],
      local.decrypt["secretsmanager"],
      length(var.retire_subnets) == 0 ? [] : [{
        Sid    = "BeInTheSubnets"
        Effect = "Allow"
        Action = [
          "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
          "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
        ]
        Resource = "*"
      }]
    )
  })
}

resource "aws_lambda_function" "retire" {
  count            = local.retires
  function_name    = local.retire
  description      = "Removes nodes of terminated instances from all Chef servers."
  filename         = var.retire_zip
  source_code_hash = filebase64sha256(var.retire_zip)
  handler          = "handler.handle"
  runtime          = "python3.13"
  architectures    = ["arm64"]
  memory_size      = 256
  timeout          = 120
  layers           = var.retire_layers
  role             = aws_iam_role.retire[0].arn
  depends_on       = [aws_cloudwatch_log_group.retire, aws_iam_role_policy.retire]

  environment {
    variables = {
      CHEF_FAILOVER_CREDENTIALS = var.retire_credentials
      CHEF_FAILOVER_QUEUE       = aws_sqs_queue.retire[0].id # its URL
      CHEF_FAILOVER_TAG         = var.retire_tag
    }
  }

  dynamic "vpc_config" {
    for_each = length(var.retire_subnets) == 0 ? [] : [1]
    content {
      subnet_ids         = var.retire_subnets
      security_group_ids = var.retire_security_groups
    }
  }
}

resource "aws_lambda_event_source_mapping" "retire" {
  count                   = local.retires
  event_source_arn        = aws_sqs_queue.retire[0].arn
  function_name           = aws_lambda_function.retire[0].arn
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = 2
  }
}

resource "aws_cloudwatch_metric_alarm" "retire" {
  count               = local.retires
  alarm_name          = "${local.retire}-failed"
  alarm_description   = "A terminated node could not be retired for three days. Its event is in the queue ${local.retire}-dead."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead[0].name }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
}

resource "aws_cloudwatch_metric_alarm" "retire_late" {
  count               = local.retires
  alarm_name          = "${local.retire}-late"
  alarm_description   = "A terminated node waits in the queue ${local.retire} for half an hour. EC2 forgets after an hour which instances had the tag."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = aws_sqs_queue.retire[0].name }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 1800
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
}
