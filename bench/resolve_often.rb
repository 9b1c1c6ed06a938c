# frozen_string_literal: true

# Resolves again and again, a hundredth of a second apart: resolve_often.rb SHIM CONFIG SECONDS.
# Prints the URL and the seconds of each as JSON.

require "json"
require "logger"
require "socket"
require "yaml"

shim, config_path, lasts_s = ARGV
ARGV.clear # the shim looks there for -S
require shim

# As much of Chef as makes the shim log where it would, and read client.d as a daemon does: all but the first question go
# by what the sidecar knows.
module Chef
  Log = Logger.new(File::NULL, level: :warn)
  Config = { event_handlers: [] } # rubocop:disable Style/MutableConstant

  Handler = Struct.new(:blocks) do
    def handler
      self
    end

    def on(event, &block)
      blocks[event] = block
    end
  end

  def self.event_handler(&block)
    Config[:event_handlers] << Handler.new({}).tap { |made| made.instance_eval(&block) }
  end
end

def now
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

samples = []
ends_at = now + lasts_s.to_f
while now < ends_at
  config = {}
  started = now
  ChefFailover.apply(config, config_path)
  samples << [config[:chef_server_url], now - started]
  sleep 0.01
end
puts JSON.generate(samples)
