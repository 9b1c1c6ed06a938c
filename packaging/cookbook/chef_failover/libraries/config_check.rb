# frozen_string_literal: true

module ChefFailoverCookbook
  # Finds what a recipe gets wrong: keys, servers, and what belongs together. All mistakes are told at once, each with its
  # key, its value and what would be right. It is never stricter than `chef-failover check`, which finds the rest, such as
  # wrong durations, before a new config.yml takes the old one's place.
  class ConfigCheck
    # The keys in those of config.yml that are hashes.
    SECTIONS = {
      'health' => %w(interval retry_interval timeout rise fall fresh_for proxy),
      'selection' => %w(failback),
      'listen' => %w(socket loopback),
      'metrics' => %w(textfile),
      'discovery' => %w(source interval region endpoint_url),
      'fleet' => %w(nodes),
    }.freeze
    SERVER = %w(name url priority organization ca_file association).freeze
    # The keys of an association, by its provider.
    PROVIDERS = {
      'none' => %w(provider),
      'chef-server' => %w(provider validator validator_key region endpoint_url),
      'opsworks-cm' => %w(provider region server_name endpoint_url),
    }.freeze
    NAME = /\A[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}\z/.freeze
    URL = %r{\Ahttps://[^/@\s]+(?:/[^@\s]*)?\z}i.freeze
    STORES = %r{\A(?:file:/|secretsmanager:.|ssm:.)}.freeze
    IN_AWS = /\A(?:secretsmanager|ssm):/.freeze

    # config: as ConfigYml has it.
    def initialize(config)
      @config = config
      @servers = config['servers'] || []
    end

    def mistakes
      of_sections = SECTIONS.flat_map { |name, known| strange_keys(@config[name], known, name) }
      of_servers = @servers.each_with_index.flat_map { |server, index| of_server(server, "servers[#{index}]") }
      of_sections + of_servers + twice('name', %w(name)) + twice('url', %w(url organization))
    end

    private

    def of_server(server, place)
      unless server.is_a?(Hash)
        return ["#{place}: #{server.inspect} is not a server; write { 'name' => ..., 'url' => 'https://...' }"]
      end

      missing = (%w(name url) - server.compact.keys).map { |key| "#{place}: needs the key #{key}" }
      missing + strange_keys(server, SERVER, place) + of_name(server['name'], place) + of_url(server['url'], place) +
        of_association(server['association'], "#{place}.association")
    end

    def of_name(name, place)
      return [] if name.nil? || NAME.match?(name.to_s)

      ["#{place}.name: #{name.inspect} is not a name; write letters, digits, dots, dashes and underscores"]
    end

    # What stands before an @ may be a password, and is not repeated.
    def of_url(url, place)
      return [] if url.nil? || URL.match?(url.to_s)

      said = url.to_s.include?('@') ? 'has a user or a password' : "#{url.inspect} is not the URL of a Chef server"
      ["#{place}.url: #{said}; write https://HOST, with :PORT and /organizations/ORG if needed"]
    end

    def of_association(association, place)
      return [] if association.nil?
      return ["#{place}: #{association.inspect} is not a hash; write { 'provider' => ... }"] unless association.is_a?(Hash)

      provider = association.fetch('provider', 'none')
      known = PROVIDERS[provider]
      return ["#{place}.provider: #{provider.inspect} is not one of: #{PROVIDERS.keys.join(', ')}"] unless known

      strange_keys(association, known, place) + of_key(association['validator_key'], place) +
        of_region(association, provider, place) + of_registration(provider, place)
    end

    # The value may be the key itself, and is not repeated.
    def of_key(key, place)
      return [] if key.nil? || (STORES.match?(key.to_s) && !key.to_s.include?("\n"))

      ["#{place}.validator_key: is not a place; write file:/absolute/path, secretsmanager:NAME or ssm:NAME"]
    end

    def of_region(association, provider, place)
      return [] if association['region'] || (provider != 'opsworks-cm' && !IN_AWS.match?(association['validator_key'].to_s))

      ["#{place}.region: is missing; write the AWS region, as in us-east-1"]
    end

    def of_registration(provider, place)
      return [] if provider == 'none' || @config['node']['name']

      ["#{place}.provider: #{provider} registers the node by its name; set node_name"]
    end

    def strange_keys(section, known, place)
      return [] if section.nil?
      return ["#{place}: #{section.inspect} is not a hash; it may have: #{known.join(', ')}"] unless section.is_a?(Hash)

      (section.keys - known).map { |key| "#{place}.#{key}: unknown key; known here: #{known.join(', ')}" }
    end

    # The same URL with another organization is another server.
    def twice(key, keys)
      seen = {}
      @servers.each_with_index.map do |server, index|
        next unless server.is_a?(Hash) && server[key] && !server[key].to_s.include?('@')

        first = seen[server.values_at(*keys)] ||= index
        "servers[#{index}].#{key}: #{server[key].inspect} is that of servers[#{first}] already" unless first == index
      end.compact
    end
  end
end
