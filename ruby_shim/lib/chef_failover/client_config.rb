# frozen_string_literal: true

module ChefFailover
  # Sets Chef::Config, except what the command line sets: it beats everything.
  class ClientConfig
    OPTIONS = { chef_server_url: %w[S server], node_name: %w[N node-name], client_key: %w[k client-key],
                local_mode: %w[z local-mode], named_run_list: %w[n named-run-list] }.freeze
    # In target mode (-t) node_name and client_key are another device's. From Chef 19 on the API client has its own there,
    # which Chef takes from those where nobody has set them.
    OF_API_CLIENT = { node_name: :api_client_name, client_key: :api_client_key }.freeze
    MODES = %i[local_mode solo solo_legacy_mode].freeze
    TRUST = %i[ssl_ca_path ssl_ca_file].freeze

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

    # Local mode and solo have no server; knife acts for a person. (chef-shell -z acts for the node, and starts no run.) A
    # client.rb that loads client.d by itself does so before the command line is merged into the configuration.
    def self.without_server?(config)
      modes = [*MODES.map { |mode| config[mode] }, (config[:chef_zero] || {})[:enabled], given?(:local_mode)]
      modes.any? || config[:chef_server_url].to_s.start_with?("chefzero:") ||
        defined?(::Chef::Application::Knife) || defined?(::Chef::Application::Solo)
    end

    # Returns the choice, unless its server gives way to the command line's.
    def set(config, choice, run, is_final:)
      is_targeting = targeting?(config)
      warn_of_name(config, choice.node_name, run, is_final) unless is_targeting
      OF_API_CLIENT.each_key { |name| set_identity(config, name, choice[name], is_targeting) if choice[name] }
      return if ClientConfig.given?(:chef_server_url)

      config[:chef_server_url] = choice.url
      set_ca_file(config, choice.ca_file, run)
      choice
    end

    # Goes with the server, so it is taken back when the next choice has none.
    def set_ca_file(config, ca_file, run)
      now = TRUST.map { |name| config[name] }
      @others = now unless now == @ours
      together = beside_others(config, ca_file, run) if ca_file
      @ours = together ? [nil, together] : @others
      TRUST.zip(@ours) { |name, value| config[name] = value unless config[name] == value }
    end

    private

    # Not every Chef knows these settings, and a strict one raises over what it does not know.
    def targeting?(config)
      target, mode = %i[target target_mode].map { |name| config[name] if config.key?(name) }
      target || (mode || {})[:enabled]
    end

    def warn_of_name(config, name, run, is_final)
      @name = config[:node_name] unless [nil, name].include?(config[:node_name])
      is_told = @name && name && !ClientConfig.given?(:node_name)
      run.say("node_name #{name} of config.yml replaces #{@name} of client.rb", is_final ? :warn : :debug) if is_told
    end

    def set_identity(config, name, value, is_targeting)
      return if ClientConfig.given?(name)
      return config[name] = value unless is_targeting

      # Not key?, which is false for a setting with a default as long as nobody has read it.
      config[OF_API_CLIENT[name]] ||= value if config.respond_to?(OF_API_CLIENT[name])
    end

    # Chef looks into one file or one directory alone, and ends over one that is not there. So what client.rb trusts and
    # this CA are put together, in Chef's own cache.
    def beside_others(config, ca_file, run)
      raise Errno::ENOENT, ca_file unless File.file?(ca_file)

      directory, file = @others
      others = directory ? Dir.glob("*.[0-9]*", base: directory).sort.map { |name| File.join(directory, name) } : [file].compact
      files = [*others.select { |one| File.file?(one) }, ca_file].uniq
      files.one? ? ca_file : write(File.join(config[:file_cache_path], "chef-failover#{ca_file.tr('/', '_')}"), files)
    rescue SystemCallError => e
      run.say("ssl_ca_file #{ca_file} ignored: #{e.message}")
      nil
    end

    def write(path, files)
      FileUtils.mkdir_p(File.dirname(path))
      new = "#{path}.#{Process.pid}"
      FileUtils.rm_f(new)
      File.open(new, "wbx", 0o644) { |all| files.each { |file| all.puts(File.binread(file)) } }
      File.rename(new, path)
      path
    end
  end
end
