# frozen_string_literal: true

# node['chef_failover']: the server in use, since when and why, each server's health, and whether the sidecar answers.
# Never fails, and never takes a second. To install elsewhere, replace the two paths, for example
# sed -e 's#/usr/share/chef-failover#/opt/cf/share#' -e 's#/etc/chef-failover/config.yml#/opt/cf/config.yml#'
Ohai.plugin(:ChefFailover) do
  provides "chef_failover"

  collect_data(:default) do
    shim = "/usr/share/chef-failover/ruby/chef_failover.rb"
    config = "/etc/chef-failover/config.yml"
    begin
      require shim
      chef_failover Mash.new(::ChefFailover.facts(config))
    rescue StandardError, ScriptError # ScriptError: the package is half removed
      chef_failover Mash.new("available" => false)
    end
  end
end
