#!/bin/sh
# Image Builder's test, on an instance of the finished image, where the service has started by itself. The instance profile
# of the build may not read the validator's key, so no Chef server registers this instance.
set -eu
[ "$(rpm -q --qf '%{version}' chef-failover)" = "$VERSION" ] || { rpm -q chef-failover; exit 1; }
rpm -V --noconfig chef-failover
systemctl is-enabled chef-failover
systemctl start chef-failover # ends when it is ready, also while it still starts
chef-failover check --only-file

# Refuses if a Chef server has registered this instance all the same.
systemctl stop chef-failover
chef-failover seal
