# A fleet of baked images in three subnets, with its list in S3 and the validators' keys in Secrets Manager.

provider "aws" {
  region = "us-east-1"
}

module "chef_failover" {
  source = "../" # from elsewhere: git::https://…/chef-failover.git//packaging/terraform?ref=v0.1.0

  list_bucket       = "example-chef-fleet"
  validator_secrets = ["chef/validator-a", "chef/validator-b"]
  servers           = ["mainserver", "standbyserver"]
  alarm_topic       = "arn:aws:sns:us-east-1:123456789012:on-call"

  # Amazon's own image instead: resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64,
  # with user-data.yml.
  image           = "ami-0123456789abcdef0"
  user_data       = file("${path.module}/../../examples/user-data-of-ami.yml")
  security_groups = ["sg-0123456789abcdef0"]
  subnets         = ["subnet-0a1b2c3d4e5f60001", "subnet-0a1b2c3d4e5f60002", "subnet-0a1b2c3d4e5f60003"]
  min_size        = 3
  max_size        = 30

  # `make lambda` makes the zip file. Leave both out, and terminated nodes stay on the servers.
  retire_credentials = "arn:aws:secretsmanager:us-east-1:123456789012:secret:chef/administrators-AbCdEf"
  retire_zip         = "${path.module}/../../../dist/chef-failover-retire.zip"
}

output "discovery_source" {
  value = module.chef_failover.discovery_source
}
