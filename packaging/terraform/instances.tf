# Optional: nodes of an image. One that is encrypted with a customer managed key starts in an Auto Scaling group only if
# that key's policy lets AWSServiceRoleForAutoScaling use it and create grants.

resource "aws_launch_template" "node" {
  count                  = var.image == "" ? 0 : 1
  name_prefix            = "${var.name}-"
  image_id               = var.image
  instance_type          = var.instance_type
  user_data              = var.user_data == "" ? null : base64gzip(var.user_data)
  vpc_security_group_ids = var.security_groups
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

resource "aws_autoscaling_group" "nodes" {
  count               = var.image == "" || length(var.subnets) == 0 ? 0 : 1
  name_prefix         = "${var.name}-"
  min_size            = var.min_size
  max_size            = var.max_size
  vpc_zone_identifier = var.subnets

  launch_template {
    id      = aws_launch_template.node[0].id
    version = aws_launch_template.node[0].latest_version
  }

  tag {
    key                 = "Name"
    value               = var.name
    propagate_at_launch = true
  }

  tag {
    key                 = split("=", var.retire_tag)[0]
    value               = split("=", var.retire_tag)[1]
    propagate_at_launch = true
  }
}
