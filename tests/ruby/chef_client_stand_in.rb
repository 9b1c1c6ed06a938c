#!/usr/bin/env ruby
# frozen_string_literal: true

# Stands in for chef-client where there is none: it does what chef-client 16 to 19 do around our shim, no more, and was
# written from how they behave. ChefConfig, the signatures and the log are Chef's own; TLS is verified.
#
# What it takes over, because failover depends on it:
# * client.rb, the command line merged over it, client.d/*.rb by name, and -S once more over all. Whatever goes wrong
#   there ends it with code 43 and no run. Until it is over, only warnings are logged.
# * One run: run_start, before any request; the node, made where there is none; cookbook_sync_complete, converge_start,
#   converge_complete; the node is saved; run_completed, or run_failed with the exception. The URL, the key and the CA file are read at the requests.
# * A single run happens in this process, and its failure is exit code 1. With -i every run is forked, and the files
#   are read again after a run that succeeded and on HUP, but never after one that failed. Nothing is reset before.
# * USR1 starts the next run at once, HUP does not.
# * Between its files and run_start lies a tenth of a second: 58 to 168 ms with chef-client 14 to 18.
# * Ohai, where client.rb does not make it minimal and there is a plugin of ours.
#
# It prints one line for each run. Nothing in it is newer than Ruby 2.7.

require "English"
require "io/wait"
require "json"
require "net/http"
require "openssl"
require "optparse"
require "securerandom"
require "time"
require "chef-config/config"
require "chef-config/mixin/dot_d"
require "chef-config/version"
require "mixlib/authentication/signedheaderauth"
require "mixlib/log"
begin
  require "ohai/config" # Chef::Config[:ohai]
rescue LoadError # a machine without Ohai
  nil
end

# What client.d files find.
class Chef
  VERSION = ChefConfig::VERSION
  Config = ChefConfig::Config

  # The real one, as Chef has it.
  class Log
    extend Mixlib::Log
  end

  # Takes every event, and does nothing.
  class Handler
    EVENTS = %i[run_start node_load_start node_load_completed node_load_failed cookbook_sync_complete converge_start
                converge_complete run_completed run_failed].freeze
    EVENTS.each { |event| define_method(event) { |*_arguments| nil } }
  end

  # What a block given to Chef.event_handler runs in. Each block is one more handler.
  class HandlerDsl
    attr_reader :handler

    def initialize
      @handler = Class.new(Handler).new
      Config[:event_handlers] << handler
    end

    def on(event, &block)
      raise ArgumentError, "Invalid event type: #{event}" unless Handler::EVENTS.include?(event)

      handler.define_singleton_method(event) { |*arguments| instance_exec(*arguments, &block) }
    end
  end

  def self.event_handler(&block)
    HandlerDsl.new.instance_eval(&block)
  end

  def self.run_context
    nil
  end
end

# Signed requests over verified TLS, to the server that the configuration names at that moment. Each is tried once.
class Server
  API_VERSION = "2"

  def get(path)
    ask(Net::HTTP::Get, path)
  end

  def post(path, document)
    ask(Net::HTTP::Post, path, JSON.generate(document))
  end

  def put(path, document)
    ask(Net::HTTP::Put, path, JSON.generate(document))
  end

  private

  def ask(verb, path, body = nil)
    uri = URI("#{Chef::Config[:chef_server_url]}/#{path}")
    request = verb.new(uri.path, headers(verb::METHOD, uri, body.to_s))
    request.body = body
    response = connection(uri).start { |http| http.request(request) }
    response.value # raises what Chef raises, unless it is 2xx
    JSON.parse(response.body)
  end

  def connection(uri)
    http = Net::HTTP.new(uri.host, uri.port, nil)
    http.use_ssl = uri.scheme == "https"
    http.verify_mode = OpenSSL::SSL::VERIFY_PEER
    http.ca_path = Chef::Config[:ssl_ca_path]
    http.ca_file = Chef::Config[:ssl_ca_file] unless http.ca_path
    http.open_timeout = http.read_timeout = Chef::Config[:rest_timeout]
    http.max_retries = 0
    http
  end

  def headers(method, uri, body)
    versions = { "X-Ops-Server-API-Version" => API_VERSION }
    signed = Mixlib::Authentication::SignedHeaderAuth.signing_object(
      http_method: method, path: uri.path, body: body, host: "#{uri.host}:#{uri.port}", headers: versions,
      timestamp: Time.now.utc.iso8601, user_id: Chef::Config[:node_name],
      proto_version: Chef::Config[:authentication_protocol_version]
    ).sign(OpenSSL::PKey::RSA.new(File.read(Chef::Config[:client_key])))
    kinds = { "Accept" => "application/json", "Content-Type" => "application/json", "X-Chef-Version" => Chef::VERSION }
    signed.merge(versions, kinds).transform_keys(&:to_s)
  end
end

# One run, with the handlers that there are when it begins.
class Run
  Status = Struct.new(:run_id)
  Node = Struct.new(:run_list, :primary_runlist, :chef_environment, :policy_name, :policy_group, :automatic_attrs)

  def initialize
    @handlers = Chef::Config[:event_handlers].dup
    @status = Status.new(SecureRandom.uuid)
    @server = Server.new
  end

  def perform
    Chef::Config[:chef_server_url] = "chefzero://localhost:1" if Chef::Config[:local_mode]
    dispatch(:run_start, Chef::VERSION, @status)
    @automatic = run_ohai
    Chef::Config[:local_mode] ? converge : load_and_save
    dispatch(:run_completed, node_of(@document || {}), @status)
    say("succeeded")
  rescue StandardError => e
    dispatch(:run_failed, e, @status)
    say("failed with #{e.class}")
    raise
  end

  private

  def load_and_save
    name = Chef::Config[:node_name] || raise("no node name")
    @document = node = load(name)
    node["run_list"] = Chef::Config[:runlist] if Chef::Config[:runlist]
    converge
    normal = { "tags" => [] }.merge(node["normal"] || {})
    @server.put("nodes/#{name}", node.merge("automatic" => @automatic, "normal" => normal))
  end

  # As chef-client has it at the end. There are no cookbooks here.
  def node_of(document)
    primary = document["run_list"] || []
    policy = %w[policy_name policy_group].map { |name| document[name] }
    Node.new(Chef::Config[:override_runlist] || primary, primary, document["chef_environment"] || "_default", *policy, @automatic)
  end

  def run_ohai
    found = { "ohai_time" => Time.now.to_f }
    plugins = Array((Chef::Config[:ohai] || {})[:plugin_path]).map { |path| File.join(path, "chef_failover.rb") }
    return found if Chef::Config[:minimal_ohai] || plugins.none? { |path| File.exist?(path) }

    require "ohai"
    system = Ohai::System.new
    system.all_plugins("chef_failover")
    found.merge(JSON.parse(system.data.to_json))
  end

  def load(name)
    dispatch(:node_load_start, name, Chef::Config)
    node = @server.get("nodes/#{name}")
    dispatch(:node_load_completed, node, [], Chef::Config)
    node
  rescue StandardError => e
    return create(name) if e.respond_to?(:response) && e.response.code == "404"

    dispatch(:node_load_failed, name, e, Chef::Config)
    raise
  end

  def create(name)
    node = { "name" => name, "chef_type" => "node", "json_class" => "Chef::Node", "run_list" => [] }
    @server.post("nodes", node)
    node
  end

  def converge
    dispatch(:cookbook_sync_complete)
    dispatch(:converge_start, nil)
    dispatch(:converge_complete)
  end

  def dispatch(event, *arguments)
    @handlers.each { |handler| handler.public_send(event, *arguments) }
  end

  def say(result)
    puts "stand-in: the run on #{Chef::Config[:chef_server_url]} #{result}"
  end
end

# The command line, the files, and when a run happens.
class Application
  include ChefConfig::Mixin::DotD

  CONFIGURATION_ERROR = 43
  FROM_FILES_TO_RUN_S = 0.1

  def initialize(words)
    @options = parse(words)
  end

  def run
    @signals, signals = IO.pipe
    { "USR1" => "1", "HUP" => "H" }.each { |name, letter| trap(name) { signals.putc(letter) } }
    reconfigure
    sleep(FROM_FILES_TO_RUN_S)
    Chef::Config[:interval] ? run_at_intervals : run_once
  end

  private

  def parse(words) # rubocop:disable Metrics/MethodLength -- a table
    options = {}
    OptionParser.new do |parser|
      parser.on("-c", "--config FILE") { |file| options[:config_file] = File.expand_path(file) }
      parser.on("-S", "--server URL") { |url| options[:chef_server_url] = url }
      parser.on("-N", "--node-name NAME") { |name| options[:node_name] = name }
      parser.on("-k", "--client_key FILE") { |file| options[:client_key] = file }
      parser.on("-l", "--log_level LEVEL") { |level| options[:log_level] = level.to_sym }
      parser.on("-i", "--interval SECONDS", Integer) { |seconds| options[:interval] = seconds }
      parser.on("-z", "--local-mode") { options[:local_mode] = true }
      parser.on("-o", "--override-runlist LIST", Array) { |items| options[:override_runlist] = items }
      parser.on("-r", "--runlist LIST", Array) { |items| options[:runlist] = items }
      parser.on("-j", "--json-attributes FILE") { |file| options[:runlist] = JSON.parse(File.read(file))["run_list"] }
      parser.on("--once") { options[:once] = true }
      parser.on("--[no-]fork") { |fork| options[:client_fork] = fork }
    end.parse(words) # which leaves ARGV as it is: the shim reads it
    options
  end

  def reconfigure
    load_files
    Chef::Config[:chef_server_url] = @options[:chef_server_url] if @options[:chef_server_url]
    Chef::Config[:interval] = nil if Chef::Config[:once]
    level = Chef::Config[:log_level]
    Chef::Log.level = level == :auto ? :warn : level
  end

  def load_files
    apply_config(File.read(@options.fetch(:config_file)), @options[:config_file])
    Chef::Config.merge!(@options)
    load_dot_d(Chef::Config[:client_d_dir])
  rescue Exception => e # rubocop:disable Lint/RescueException -- exit and SyntaxError end chef-client so, too
    warn "FATAL: Configuration error #{e.class}: #{e.message}"
    exit!(CONFIGURATION_ERROR)
  end

  # For load_dot_d, which calls it with each file.
  def apply_config(content, path)
    Chef::Config.from_string(content, path)
  end

  def run_once
    Run.new.perform
  rescue StandardError => e
    abort "FATAL: #{e.class}: #{e.message}"
  end

  def run_at_intervals
    loop do
      wait_for_the_next
      run = Run.new
      reconfigure if succeeds?(run)
    end
  end

  def wait_for_the_next
    while @signals.wait_readable(Chef::Config[:interval])
      return if @signals.getc == "1"

      reconfigure
    end
  end

  def succeeds?(run)
    child = fork do
      run.perform
    rescue StandardError => e
      warn "ERROR: #{e.class}: #{e.message}"
      exit!(1)
    end
    Process.wait(child)
    $CHILD_STATUS.success?
  end
end

$stdout.sync = true
Chef::Log.init($stdout)
Chef::Log.level = :warn
Application.new(ARGV).run if $PROGRAM_NAME == __FILE__
