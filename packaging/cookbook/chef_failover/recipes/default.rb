# frozen_string_literal: true

settings = node['chef_failover_cookbook'].to_h
percent = settings.delete('percent')
return unless ChefFailoverCookbook.chosen?(node.name, percent)

chef_failover 'default' do
  action settings.delete('action').to_sym
  unknown = settings.keys.map(&:to_sym) - self.class.properties.keys
  raise ArgumentError, "node['chef_failover_cookbook'] has no #{unknown.join(', ')}" unless unknown.empty?

  settings.each { |property, value| public_send(property, value) unless value.nil? }
end
