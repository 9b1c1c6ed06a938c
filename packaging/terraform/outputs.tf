output "discovery_source" {
  description = "discovery.source of config.yml, and where packaging/put-list puts the list."
  value       = var.list_bucket != "" ? "s3://${var.list_bucket}/${var.list_key}" : var.list_parameter != "" ? "ssm:${var.list_parameter}" : null
}

output "node_role" {
  description = "The name of the nodes' role, for policies of your own."
  value       = aws_iam_role.node.name
}

output "instance_profile" {
  description = "The name of the instance profile, for instances that the module does not start."
  value       = aws_iam_instance_profile.node.name
}

output "launch_template" {
  description = "The id of the launch template, if there is an image."
  value       = one(aws_launch_template.node[*].id)
}

output "retire_queue" {
  description = "The URL of the queue of terminated instances, if their nodes are retired."
  value       = one(aws_sqs_queue.retire[*].url)

  precondition { # a variable's validation sees no other variable before Terraform 1.9
    condition     = length(var.retire_subnets) == 0 || length(var.retire_security_groups) > 0
    error_message = "retire_subnets need retire_security_groups."
  }
}

output "retire_dead_queue" {
  description = "The URL of the queue of those that could not be retired."
  value       = one(aws_sqs_queue.dead[*].url)
}
