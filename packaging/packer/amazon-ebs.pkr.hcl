locals {
  ec2_arch      = { x86_64 = "x86_64", aarch64 = "arm64" }[var.arch]
  instance_type = { x86_64 = "t3.small", aarch64 = "t4g.small" }[var.arch]
  built         = formatdate("YYYYMMDDhhmmss", timestamp())
}

source "amazon-ebs" "node" {
  ami_name        = "chef-failover-${var.version}-al2023-${local.ec2_arch}-${local.built}"
  ami_description = "Amazon Linux 2023 with chef-failover ${var.version}"
  region          = var.region
  instance_type   = local.instance_type
  subnet_id       = var.subnet_id
  ena_support     = true
  encrypt_boot    = true
  kms_key_id      = var.kms_key_id

  source_ami_filter {
    owners      = ["amazon"]
    most_recent = true
    filters = {
      name                = "al2023-ami-2023.*-kernel-${var.kernel}-${local.ec2_arch}"
      architecture        = local.ec2_arch
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  # IMDSv2 alone, for the instance that becomes the image and for all that are made of it.
  imds_support = "v2.0"                      # not in 1.6
  metadata_options {                         # not in 1.6
    http_endpoint               = "enabled"  # not in 1.6
    http_tokens                 = "required" # not in 1.6
    http_put_response_hop_limit = 1          # not in 1.6
  }                                          # not in 1.6

  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_size           = 8
    volume_type           = "gp3"
    iops                  = 3000
    throughput            = 125
    delete_on_termination = true
  }

  ssh_username                          = "ec2-user"
  ssh_interface                         = var.ssh_interface
  ssh_clear_authorized_keys             = true
  ssh_host                              = var.ssh_host
  ssh_private_key_file                  = var.ssh_private_key_file
  temporary_security_group_source_cidrs = var.ssh_from
  custom_endpoint_ec2                   = var.ec2_endpoint

  tags = {
    Name         = "chef-failover"
    ChefFailover = var.version
    SourceAMI    = "{{ .SourceAMI }}"
  }
  snapshot_tags = {
    Name = "chef-failover"
  }
  run_tags = {
    Name = "packer: chef-failover"
  }
}
