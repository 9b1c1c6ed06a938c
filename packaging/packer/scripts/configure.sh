#!/bin/sh
# Step 2: config.yml and the certificates that it names. What is secret reaches instances in another way.
set -eu
cd /tmp/chef-failover/config
if grep -l 'PRIVATE KEY' ./*; then
  echo 'No key belongs in an image: take it out of the folder above, and name it as "secretsmanager:NAME".' >&2
  exit 1
fi
install -m 0644 ./* /etc/chef-failover/
