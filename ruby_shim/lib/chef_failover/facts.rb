# frozen_string_literal: true

module ChefFailover
  # What the Ohai plugin publishes: the sidecar's facts, or what it wrote down before it went away.
  module Facts
    BUDGET_S = 0.8
    OF_CHOICE = %w[name chef_server_url since degraded reason].freeze
    OF_SERVER = %w[url health outcome association ready latency_s last_change].freeze
    LIMIT = 16_000
    OF_ORDER = %w[server strict reason who created ends].freeze

    def self.collect(settings, run)
      status, facts = run.ask(settings, BUDGET_S, "GET", "/v1/facts")
      status == 200 ? facts.reject { |key, _| key == "schema" } : remembered(settings)
    rescue Unusable
      remembered(settings)
    end

    def self.remembered(settings)
      state = Document.read(settings.state_file)
      fitting({ "available" => false, "server" => pick(state["choice"], OF_CHOICE), "pin" => pick(state["pin"], OF_ORDER),
                "drains" => each_of(state["drains"], OF_ORDER), "servers" => each_of(state["servers"], OF_SERVER) }.compact)
    rescue Unusable
      { "available" => false }
    end

    # As the sidecar has it: every run sends this to a Chef server, so the last servers are left out where they are many.
    def self.fitting(facts)
      %w[drains servers].each do |part|
        facts[part].delete(facts[part].keys.last) while facts[part]&.any? && JSON.generate(facts).bytesize > LIMIT
      end
      facts
    end

    def self.each_of(values, keys)
      values.transform_values { |value| pick(value, keys) } if values.is_a?(Hash)
    end

    def self.pick(value, keys)
      value.is_a?(Hash) ? value.select { |key, _| keys.include?(key) } : nil
    end
  end
end
