# frozen_string_literal: true

# Resolves again and again, a hundredth of a second apart: resolve_often.rb SHIM CONFIG SECONDS.
# Prints the URL and the seconds of each as JSON.

require "json"
require "socket"
require_relative "chef"

shim, config_path, lasts_s = ARGV
ARGV.clear # the shim looks there for -S
require shim

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
