#!/bin/sh
# Step 1: the packages.
set -eu
cd /tmp/chef-failover/packages
dnf -y install ./*.rpm

# The package brings no servers: the sidecar must start, idle, and tell nobody about this machine.
: >/etc/chef-failover/config.yml
systemctl start chef-failover
systemctl stop chef-failover
