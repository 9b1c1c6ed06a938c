# frozen_string_literal: true

require 'yaml'

module ChefFailoverCookbook
  # The properties of a resource have mistakes, and nothing was changed.
  class Mistakes < StandardError
    def initialize(found)
      super("nothing was changed, because properties of chef_failover are wrong:\n#{found.map { |one| "  #{one}\n" }.join}")
    end
  end

  # Turns properties into config.yml. Values in, values out: neither Chef nor files are needed here.
  module ConfigYml
    # Properties that are keys of `node` in config.yml, and their names there. (In a recipe, `node` is Chef's own.)
    OF_NODE = { 'node_name' => 'name', 'organization' => 'organization', 'client_key' => 'client_key',
                'key_bits' => 'key_bits', 'policy_group' => 'policy_group', 'policy_name' => 'policy_name' }.freeze
    # Properties that are keys of config.yml by the same name.
    OF_FILE = %w(servers trusted_hosts health selection listen readiness parity state_dir metrics discovery fleet
                 log_format).freeze
    HANDED_OVER = 'handed_over'
    HEADER = "# Chef writes this file, by the resource chef_failover. A change made here lasts until the next run.\n"

    # config.yml as a hash, of the properties that are set: { node_name: 'web-1', servers: [...], health: {...} }.
    # Raises Mistakes with all of them, and with those that were found elsewhere.
    def self.config(properties, found_elsewhere = [])
      given = plain(properties)
      given.delete('client_key') if given['client_key'] == HANDED_OVER
      node = OF_NODE.select { |property, _| given.key?(property) }.map { |property, key| [key, given[property]] }.to_h
      config = { 'node' => none(node) }.merge(given.slice(*OF_FILE))
      config['servers'] = config['servers'].map { |server| none(server) } if config.key?('servers')
      found = [*found_elsewhere, *strangers(properties, nil), *ConfigCheck.new(config).mistakes]
      raise Mistakes, found unless found.empty?

      config
    end

    def self.text(config)
      HEADER + config.to_yaml(line_width: -1)
    end

    # Without symbols and without Chef's own kinds of hash and array, which YAML would write with their classes. No object
    # is there twice, which YAML would write as a reference.
    def self.plain(value)
      case value
      when Hash then value.each_with_object({}) { |(key, one), all| all[key.to_s] = plain(one) }
      when Array then value.map { |one| plain(one) }
      when String, Symbol then String.new(value.to_s)
      else value
      end
    end

    # false says in a recipe that there is no organization, since a property that is nil counts as not set.
    def self.none(keys)
      return keys unless keys.is_a?(Hash) && keys['organization'] == false

      keys.merge('organization' => nil)
    end

    # Mistakes about values that no configuration has.
    def self.strangers(value, place)
      case value
      when Hash then value.flat_map { |key, one| strangers(one, [place, key].compact.join('.')) }
      when Array then value.each_with_index.flat_map { |one, index| strangers(one, "#{place}[#{index}]") }
      when String, Symbol, Integer, Float, true, false, nil then []
      else ["#{place}: is of the class #{value.class}; write text, a number, a list or a hash"]
      end
    end
    private_class_method :plain, :none, :strangers
  end
end
