#!/bin/sh
# A fleet of baked images in three subnets, with its list in S3 and the validators' keys in Secrets Manager.
set -eu
cd "$(dirname "$0")"

# Amazon's own image instead: resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64, with
# user-data.yml. Without RetireCredentials, terminated nodes stay on the servers.
aws cloudformation deploy --region us-east-1 \
  --stack-name chef-failover --template-file chef-failover.yml \
  --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND \
  --parameter-overrides \
  ListBucket=example-chef-fleet \
  ValidatorSecrets=chef/validator-a,chef/validator-b \
  Servers=mainserver,standbyserver \
  AlarmTopic=arn:aws:sns:us-east-1:123456789012:on-call \
  Image=ami-0123456789abcdef0 \
  UserData="$(gzip -9c ../examples/user-data-of-ami.yml | base64 -w0)" \
  SecurityGroups=sg-0123456789abcdef0 \
  Subnets=subnet-0a1b2c3d4e5f60001,subnet-0a1b2c3d4e5f60002,subnet-0a1b2c3d4e5f60003 \
  MinSize=3 MaxSize=30 \
  RetireCredentials=arn:aws:secretsmanager:us-east-1:123456789012:secret:chef/administrators-AbCdEf \
  RetireZipBucket=example-code RetireZipKey=chef-failover-retire.zip
