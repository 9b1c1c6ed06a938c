# frozen_string_literal: true

# Lets the chef-failover sidecar choose the Chef server of every run. The lines do nothing when the package is gone,
# because an exception here would end chef-client. To install elsewhere, replace the two paths, for example
# sed -e 's#/usr/share/chef-failover#/opt/cf/share#' -e 's#/etc/chef-failover/config.yml#/opt/cf/config.yml#'
shim = "/usr/share/chef-failover/ruby/chef_failover.rb"
require shim if File.readable?(shim)
::ChefFailover.apply(self, "/etc/chef-failover/config.yml") if defined?(::ChefFailover.apply)
