# frozen_string_literal: true

# Where a chef-client run goes: resolve.rb recipe URL URL ... | resolve.rb shim SHIM CONFIG PAUSE.
# Prints the URL and the seconds as JSON. What chef-client has loaded anyway is loaded before the clock starts.
#
# The shim is asked twice, when client.d is read and at run_start. Between the two chef-client reads further files, sets
# its log up, looks for its licence, makes its client and forks; here it forks and sleeps for PAUSE seconds. The seconds
# are those of both questions, without what lies in between and without the report that the run has started.

require "json"
require "net/http"
require "openssl"
require "socket"
require "time" # which brings date
require_relative "chef"

kind, *arguments = ARGV
ARGV.clear

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

def timed
  started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  value = yield
  [value, Process.clock_gettime(Process::CLOCK_MONOTONIC) - started]
end

def shim(path, pause)
  _, first_s = timed { ChefFailover.apply(Chef::Config, path) }
  answer, child = IO.pipe
  fork do
    sleep(pause)
    settings = ChefFailover::Settings.load(path)
    _, second_s = timed { ChefFailover.hooks.send(:choose_again, settings) }
    child.write(JSON.generate([Chef::Config[:chef_server_url], first_s + second_s]))
    exit!(0)
  end
  child.close
  JSON.parse(answer.read)
end

require arguments.shift if kind == "shim"
url, took_s = kind == "shim" ? shim(arguments[0], arguments[1].to_f) : timed { recipe(arguments) }
puts JSON.generate("url" => url, "took_s" => took_s)
