# frozen_string_literal: true

module ChefFailover
  # What the Ohai plugin publishes: the sidecar's facts, or what it wrote down before it went away.
  module Facts
    BUDGET_S = 0.8
    OF_CHOICE = %w[name chef_server_url since degraded reason].freeze
    OF_ORDER = %w[server strict reason who created ends].freeze

    def self.collect(settings, run)
      status, facts = run.ask(settings, BUDGET_S, "GET", "/v1/facts")
      status == 200 ? facts.reject { |key, _| key == "schema" } : remembered(settings)
    rescue Unusable
      remembered(settings)
    end

    def self.remembered(settings)
      state = Document.read(settings.state_file)
      drains = state["drains"]
      { "available" => false, "server" => pick(state["choice"], OF_CHOICE), "pin" => pick(state["pin"], OF_ORDER),
        "drains" => (drains.transform_values { |drain| pick(drain, OF_ORDER) } if drains.is_a?(Hash)),
        "servers" => state["servers"] }.compact
    rescue Unusable
      { "available" => false }
    end

    def self.pick(value, keys)
      value.is_a?(Hash) ? value.select { |key, _| keys.include?(key) } : nil
    end
  end
end
