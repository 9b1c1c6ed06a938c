# Alarms on figures of the whole fleet, which packaging/examples/cloudwatch has the CloudWatch agent send. Average is the
# share of nodes. What a node says of a server that its runs do not use is up to an hour old.

locals {
  alarm_actions = compact([var.alarm_topic])
  fleet_alarms = {
    no-usable-server = {
      description        = "More than 5 % of the nodes have no Chef server that works for them; their runs probably fail."
      metric             = "chef_failover_degraded"
      statistic          = "Average"
      comparison         = "GreaterThanThreshold"
      threshold          = 0.05
      period             = 300
      evaluation_periods = 2
      missing            = "notBreaching"
    }
    silent = {
      description        = "No node has sent figures for half an hour, so that the other alarms are blind. Look at the CloudWatch agent."
      metric             = "chef_failover_degraded"
      statistic          = "SampleCount"
      comparison         = "LessThanThreshold"
      threshold          = 1
      period             = 300
      evaluation_periods = 6
      missing            = "breaching"
    }
  }
  server_alarms = {
    down = {
      description        = "This Chef server is DOWN for most nodes. They have moved to others, and return by themselves."
      metric             = "chef_failover_server_up"
      statistic          = "Average"
      comparison         = "LessThanThreshold"
      threshold          = 0.5
      period             = 300
      evaluation_periods = 2
      missing            = "notBreaching"
    }
    cannot-take-over = {
      description        = "Most nodes could not run on this Chef server: it is down or drained, or they are not registered or not ready there."
      metric             = "chef_failover_server_eligible"
      statistic          = "Average"
      comparison         = "LessThanThreshold"
      threshold          = 0.5
      period             = 300
      evaluation_periods = 15
      missing            = "notBreaching"
    }
  }
  alarms = merge(
    { for name, alarm in local.fleet_alarms : name => merge(alarm, { dimensions = { job = "chef-failover" } }) },
    [for server in var.servers : {
      for name, alarm in local.server_alarms : "${server}-${name}" => merge(alarm, { dimensions = { server = server } })
    }]...
  )
}

resource "aws_cloudwatch_log_group" "metrics" {
  name              = var.log_group
  retention_in_days = var.retention_days
}

resource "aws_cloudwatch_metric_alarm" "figure" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = "ChefFailover"
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = each.value.period
  evaluation_periods  = each.value.evaluation_periods
  treat_missing_data  = each.value.missing
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
}

resource "aws_cloudwatch_metric_alarm" "runs_fail" {
  alarm_name          = "${var.name}-runs-fail"
  alarm_description   = "More than a fifth of the chef-client runs of the last hour failed. The servers may be well and a cookbook not."
  comparison_operator = "GreaterThanThreshold"
  threshold           = 20
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions

  metric_query {
    id          = "share"
    expression  = "100 * FILL(failed, 0) / (FILL(failed, 0) + FILL(succeeded, 0))"
    label       = "Percent of runs that failed"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = ["failed", "succeeded"]
    content {
      id = metric_query.value
      metric {
        namespace   = "ChefFailover"
        metric_name = "chef_failover_runs_total"
        dimensions  = { result = metric_query.value }
        stat        = "Sum"
        period      = 3600
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "certificate" {
  for_each = toset(var.servers)

  alarm_name          = "${var.name}-${each.key}-certificate"
  alarm_description   = "The certificate of this Chef server ends within 14 days. After that neither probes nor chef-client accept the server."
  comparison_operator = "LessThanThreshold"
  threshold           = 14
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions

  metric_query {
    id          = "days"
    expression  = "(expiry - EPOCH(expiry)) / 86400"
    label       = "Days that the certificate still holds"
    return_data = true
  }

  metric_query {
    id = "expiry"
    metric {
      namespace   = "ChefFailover"
      metric_name = "chef_failover_server_certificate_expiry_timestamp_seconds"
      dimensions  = { server = each.key }
      stat        = "Minimum"
      period      = 3600
    }
  }
}

resource "aws_cloudwatch_dashboard" "fleet" {
  dashboard_name = var.name
  dashboard_body = replace(file("${path.module}/dashboard.json"), "REGION", local.region)
}
