#!/bin/sh
# Step 3: what is installed is whole, will start at boot, and can read its configuration.
set -eu
[ "$(rpm -q --qf '%{version}' chef-failover)" = "$VERSION" ] || { rpm -q chef-failover; exit 1; }
rpm -V --noconfig chef-failover
systemctl is-enabled chef-failover
systemd-analyze verify chef-failover.service

# 1 means that no server is reached from here, which may well be so; 2 that config.yml is wrong.
runuser -u chef-failover -- chef-failover check || [ $? -eq 1 ]
