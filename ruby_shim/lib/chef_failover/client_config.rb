# frozen_string_literal: true

module ChefFailover
  # Sets Chef::Config, except what the command line sets: it beats everything.
  class ClientConfig
    OPTIONS = { chef_server_url: %w[S server], node_name: %w[N node-name], client_key: %w[k client-key] }.freeze
    # In target mode (-t) node_name and client_key are another device's. From Chef 19 on the API client has its own there,
    # which Chef takes from those where nobody has set them.
    OF_API_CLIENT = { node_name: :api_client_name, client_key: :api_client_key }.freeze

    # Whether the command line sets this: -S URL, -SURL, -WS URL, --server URL, --server=URL, --serv URL, and
    # --config-option chef_server_url=URL. An ambiguous abbreviation has ended chef-client before.
    def self.given?(setting)
      letter, name = OPTIONS.fetch(setting)
      ARGV.map(&:b).take_while { |argument| argument != "--" }.any? do |argument|
        long = argument[/\A--([^=]+)/, 1]
        (long && name.start_with?(long.downcase.tr("_", "-"))) ||
          argument.match?(/\A(?:-[WRfz]*#{letter}|(?:--config-o[a-z-]*=)?\s*#{setting}\s*=)/)
      end
    end

    # Local mode and solo have no server; knife acts for a person, not for the node.
    def self.without_server?(config)
      defined?(::Chef::Application::Knife) || config[:local_mode] || config[:solo] || config[:solo_legacy_mode] ||
        (config[:chef_zero] || {})[:enabled] || config[:chef_server_url].to_s.start_with?("chefzero:")
    end

    # Returns the choice, unless its server gives way to the command line's.
    def set(config, choice, run)
      is_targeting = value(config, :target) || (value(config, :target_mode) || {})[:enabled]
      OF_API_CLIENT.each_key { |name| set_identity(config, name, choice[name], is_targeting) if choice[name] }
      return if ClientConfig.given?(:chef_server_url)

      config[:chef_server_url] = choice.url
      set_ca_file(config, choice.ca_file, run)
      choice
    end

    # Goes with the server, so it is taken back when the next choice has none.
    def set_ca_file(config, ca_file, run)
      ca_file = usable_ca_file(config, ca_file, run) if ca_file
      is_ours = @ca_file && config[:ssl_ca_file] == @ca_file
      @ca_file_before = config[:ssl_ca_file] unless is_ours
      config[:ssl_ca_file] = ca_file || @ca_file_before if ca_file || is_ours
      @ca_file = ca_file
    end

    private

    def set_identity(config, name, value, is_targeting)
      return if ClientConfig.given?(name)
      return config[name] = value unless is_targeting

      # Not key?, which is false for a setting with a default as long as nobody has read it.
      config[OF_API_CLIENT[name]] ||= value if config.respond_to?(OF_API_CLIENT[name])
    end

    # Chef ends over a file that is not there, and looks at none beside ssl_ca_path.
    def usable_ca_file(config, ca_file, run)
      run.say("ssl_ca_path is set, so chef-client does not look at ssl_ca_file #{ca_file}") if config[:ssl_ca_path]
      return ca_file if File.file?(ca_file)

      run.say("ssl_ca_file #{ca_file} is ignored: there is no such file")
      nil
    end

    # Not every Chef knows every setting, and a strict one raises over what it does not know.
    def value(config, key)
      config[key] if config.key?(key)
    end
  end
end
