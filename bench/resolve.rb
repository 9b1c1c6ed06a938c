# frozen_string_literal: true

# Where a chef-client run goes, found once: resolve.rb recipe URL URL ... | resolve.rb shim SHIM CONFIG.
# Prints the URL and the seconds as JSON. What chef-client has loaded anyway is loaded before the clock starts.

require "json"
require "logger"
require "net/http"
require "openssl"
require "socket"
require "time" # which brings date
require "yaml"

kind, *arguments = ARGV
ARGV.clear

# As much of Chef as makes the shim log where it would.
module Chef
  Log = Logger.new(File::NULL, level: :warn)
end

# The health check of the 2019 recipe, from its description: each endpoint in turn, GET / over HTTPS with 5 seconds to
# read, Ruby's own connect timeout (60 seconds) and without verification; the first 2xx wins.
def recipe(endpoints)
  endpoints.find do |endpoint|
    uri = URI("#{endpoint}/")
    http = Net::HTTP.new(uri.host, uri.port)
    http.use_ssl = true
    http.verify_mode = OpenSSL::SSL::VERIFY_NONE
    http.read_timeout = 5
    http.get(uri.request_uri).is_a?(Net::HTTPSuccess)
  rescue StandardError
    false
  end
end

def shim(path)
  config = {}
  ChefFailover.apply(config, path)
  config[:chef_server_url]
end

require arguments.shift if kind == "shim"
started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
url = kind == "shim" ? shim(arguments.first) : recipe(arguments)
puts JSON.generate("url" => url, "took_s" => Process.clock_gettime(Process::CLOCK_MONOTONIC) - started)
