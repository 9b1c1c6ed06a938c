# frozen_string_literal: true

# Not node['chef_failover']: that is what the Ohai plugin reports, and it would overrule what is set here.
#
# Every property of the resource chef_failover may be set here, by its name; servers must be. nil is the same as not set.
default['chef_failover_cookbook']['action'] = 'install' # or remove
default['chef_failover_cookbook']['percent'] = 100 # of the nodes, by a hash of their names
