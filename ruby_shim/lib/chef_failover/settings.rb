# frozen_string_literal: true

module ChefFailover
  # What config.yml says, as far as it matters here. The sidecar is the one to complain of what is wrong in it.
  class Settings
    # warnings are whole sentences.
    Choice = Struct.new(:server, :url, :node_name, :client_key, :ca_file, :reason, :is_degraded, :warnings)
    UNITS = { "ms" => 0.001, "s" => 1, "m" => 60, "h" => 3600 }.freeze
    NODE_NAME = /\A[A-Za-z0-9_.:-]{1,255}\z/.freeze
    MOST_WARNINGS = 20

    attr_reader :servers, :socket, :state_file

    # A run asks more than once, and parsing is the slowest part of that: only a text that has changed is parsed again.
    def self.load(path)
      text = File.read(path, encoding: Encoding::UTF_8)
      @last = [text, new(parse(text))] unless @last && @last.first == text
      @last.last
    rescue SystemCallError, IOError, Psych::Exception, ArgumentError, EncodingError => e
      raise Unusable, "#{path} cannot be used: #{e.message}"
    end

    # Psych 3.1 (Ruby 2.6) brought the keywords, Psych 4 has nothing else.
    def self.parse(text)
      kinds = [Date, Time, Symbol]
      has_keywords = YAML.method(:safe_load).parameters.include?(%i[key permitted_classes])
      has_keywords ? YAML.safe_load(text, permitted_classes: kinds, aliases: true) : YAML.safe_load(text, kinds, [], true)
    end

    def initialize(document = nil)
      @document = document || {}
      raise Unusable, "config.yml is not a mapping" unless @document.is_a?(Hash)

      state_dir = @document["state_dir"].is_a?(String) ? @document["state_dir"] : "/var/lib/chef-failover"
      @servers = Array(@document["servers"]).grep(Hash)
      @socket = text("listen", "socket") || "/run/chef-failover/sidecar.sock"
      @state_file = File.join(state_dir, "state.json")
      @client_key = text("node", "client_key") || File.join(state_dir, "client.pem")
    end

    # How long the sidecar may take to answer: a second more than one of its probes.
    def budget_s
      amount, unit = section("health")["timeout"].to_s.match(/\A(\d+(?:\.\d+)?)(ms|s|m|h)\z/).to_a.last(2)
      1 + (amount ? amount.to_f * UNITS[unit] : 3)
    end

    # The server with the lowest priority where there are any, else the first, if it has a plain URL.
    def first_choice
      server = servers.select { |one| url_of(one) }
                      .min_by.with_index { |one, place| [one["priority"].is_a?(Integer) ? one["priority"] : 0, place] }
      raise Unusable, "no server in config.yml has a usable url" unless server

      Choice.new(server["name"], url_of(server), *identity, server["ca_file"])
    end

    # An answer from outside as a choice, without what config.yml does not vouch for.
    def vouch_for(answer)
      url = answer["chef_server_url"].to_s
      unless vouched?(url)
        raise Unusable, "refused #{url[0, 100]}: config.yml does not name this host, or not with this path, or it is not https"
      end

      Choice.new(answer["name"], Address.tidy(url), allowed(answer, "node_name") { |name| NODE_NAME.match?(name) },
                 allowed(answer, "client_key") { |path| same?(path, @client_key) },
                 allowed(answer, "ssl_ca_file") { |path| servers.any? { |one| same?(path, one["ca_file"]) } },
                 answer["reason"], answer["degraded"] == true, warnings_in(answer))
    end

    private

    # On a listed host the path counts as well: others may make organizations of their own there.
    def vouched?(url)
      scheme, host, _, path = place = Address.place(url)
      return false unless scheme == "https"

      servers.any? { |one| Address.place(url_of(one)) == place } || (trusted?(host) && !path.match?(Address::AMBIGUOUS))
    end

    def trusted?(host)
      Array(@document["trusted_hosts"]).grep(String).any? do |pattern|
        shape = Regexp.escape(pattern).gsub("\\*", ".+").gsub("\\?", ".")
        host.match?(/\A#{shape}\z/i)
      end
    end

    def allowed(answer, field)
      value = answer[field]
      return value if value.nil? || (value.is_a?(String) && yield(value))

      ChefFailover.log(:warn, "#{field} #{value.to_s[0, 100].inspect} is ignored: config.yml does not name it")
      nil
    end

    # The sidecar writes /etc//x and /etc/./x as /etc/x. What .. stands for only the kernel knows.
    def same?(*paths)
      paths.all?(String) && paths.map { |path| path.gsub(%r{/+(?:\./+)*}, "/") }.uniq.one?
    end

    def warnings_in(answer)
      passed_over = Array(answer["passed_over"]).grep(Hash).first(MOST_WARNINGS).map do |server|
        "Server #{server['reachable'] ? 'passed over' : 'not reachable'}: #{server['name']}: #{server['reason']}"
      end
      passed_over + Array(answer["warnings"]).grep(String).first(MOST_WARNINGS)
    end

    # The name and the key, as far as they can be known here: {instance_id} is for the sidecar to fill in.
    def identity
      name = text("node", "name")
      name.nil? || NODE_NAME.match?(name) ? [name, (@client_key if File.file?(@client_key))] : [nil, nil]
    end

    # The URL that chef-client needs for a server of the list; nil if it is not plainly one.
    def url_of(server)
      return unless Address.place(server["url"])

      url = Address.tidy(server["url"])
      organization = server.fetch("organization") { section("node").fetch("organization", "default") }
      url = "#{url}/organizations/#{organization}" unless organization.nil? || url.include?("/organizations/")
      url if Address.place(url)
    end

    def section(name)
      @document[name].is_a?(Hash) ? @document[name] : {}
    end

    def text(name, key)
      value = section(name)[key]
      value if value.is_a?(String) && !value.empty?
    end
  end
end
