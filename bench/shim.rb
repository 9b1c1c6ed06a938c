# frozen_string_literal: true

# Times the shim's whole resolution and a plain GET in turns: shim.rb SHIM CONFIG NGINX_SOCKET ROUNDS.
# Prints the seconds of each round as JSON.

require "json"
require "net/http"
require "socket"
require_relative "chef"

shim, config_path, nginx_socket, rounds = ARGV
ARGV.clear # the shim looks there for -S
require shim

# Net::HTTP with a Unix socket beneath, as gems do it.
class UnixHTTP < Net::HTTP
  attr_writer :path

  def connect
    @socket = Net::BufferedIO.new(UNIXSocket.new(@path), read_timeout: 5, continue_timeout: nil, debug_output: nil)
    on_connect
  end
end

def plain(path)
  client = UnixHTTP.new("localhost")
  client.path = path
  client.start { |http| http.get("/v1/server").body }
end

def bare(path)
  UNIXSocket.open(path) do |socket|
    socket.write("GET /v1/server HTTP/1.0\r\nHost: localhost\r\n\r\n")
    socket.read
  end
end

def resolve(path)
  config = {}
  ChefFailover.apply(config, path)
  config.fetch(:chef_server_url)
end

settings = ChefFailover::Settings.load(config_path)
sides = {
  "shim" => -> { resolve(config_path) },
  "plain" => -> { plain(nginx_socket) },
  "bare" => -> { bare(nginx_socket) },
  "settings" => -> { ChefFailover::Settings.load(config_path) },
  "sidecar" => -> { ChefFailover::Exchange.new(settings.socket, 3).call("GET", "/v1/server") },
  "exchange_nginx" => -> { ChefFailover::Exchange.new(nginx_socket, 3).call("GET", "/v1/server") }
}

# The same document on both sides, or the comparison is worth nothing.
ours = JSON.parse(plain(settings.socket)).reject { |key, _| key == "age_s" }
abort "nginx serves something else" unless JSON.parse(plain(nginx_socket)).reject { |key, _| key == "age_s" } == ours

clock = -> { Process.clock_gettime(Process::CLOCK_MONOTONIC) }
samples = sides.transform_values { [] }
warm_up = 50
(warm_up + rounds.to_i).times do |round|
  sides.each do |name, side|
    started = clock.call
    side.call
    took = clock.call - started
    samples[name] << took unless round < warm_up
  end
end
puts JSON.generate(samples)
