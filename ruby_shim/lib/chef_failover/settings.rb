# frozen_string_literal: true

module ChefFailover
  # What root has accepted of config.yml: see sidecar/chef_failover/node/accepted.py, which writes it.
  class Settings
    Choice = Struct.new(:server, :url, :node_name, :client_key, :ca_file, :reason, :is_degraded, :warnings)
    # A URL so plain that no two parsers read it differently; without what servers may each take for another path.
    PLAIN = %r{\Ahttps://((?:[A-Za-z0-9_-]+\.)*[A-Za-z0-9_-]+)(?::\d{1,5})?(?:/(?!\.{1,2}(?:/|\z))[A-Za-z0-9._~-]*)*\z}.freeze
    MOST_WARNINGS = 20

    attr_reader :servers, :socket, :state_file, :budget_s

    def self.load(config_path)
      path = "#{config_path}.accepted.json"
      new(Document.read(path, is_roots: true))
    rescue Unusable => e
      raise Unusable, "no accepted configuration at #{path}: #{e.message}"
    end

    def initialize(accepted)
      @node_name, @client_key, @servers, @trusted_hosts, @socket, @state_file, @budget_s =
        accepted.fetch_values("node_name", "client_key", "servers", "trusted_hosts", "socket", "state_file", "budget_s")
    end

    # The server that is preferred to the others.
    def first_choice
      name, url, ca_file = servers.first.values_at("name", "chef_server_url", "ssl_ca_file")
      Choice.new(name, url, @node_name, (@client_key if @node_name && File.file?(@client_key)), ca_file)
    end

    # An answer from outside as a choice, without what was not accepted.
    def vouch_for(answer)
      url = answer["chef_server_url"]
      is_vouched = servers.any? { |one| one["chef_server_url"] == url } || trusted?(url)
      why = "not https, or its host or path is not in config.yml"
      raise Unusable, "refused #{url.to_s[0, 100]}: #{why}" unless is_vouched

      name = allowed(answer, "node_name", [@node_name])
      Choice.new(answer["name"], url, name, allowed(answer, "client_key", [(@client_key if name)]),
                 allowed(answer, "ssl_ca_file", servers.map { |one| one["ssl_ca_file"] }),
                 answer["reason"], answer["degraded"] == true, warnings_in(answer))
    end

    private

    def trusted?(url)
      host = url[PLAIN, 1] if url.is_a?(String)
      host && host.length < 254 && @trusted_hosts.any? { |one| File.fnmatch?(one, host, File::FNM_CASEFOLD) }
    end

    def allowed(answer, field, values)
      value = answer[field]
      return value if value.nil? || values.include?(value)

      ChefFailover.log(:warn, "#{field} #{value.to_s[0, 100].inspect} ignored: not in config.yml")
      nil
    end

    def warnings_in(answer)
      passed_over = Array(answer["passed_over"]).grep(Hash).first(MOST_WARNINGS).map do |server|
        "Server #{server['reachable'] ? 'passed over' : 'not reachable'}: #{server['name']}: #{server['reason']}"
      end
      passed_over + Array(answer["warnings"]).grep(String).first(MOST_WARNINGS)
    end
  end
end
