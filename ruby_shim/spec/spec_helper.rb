# frozen_string_literal: true

require "chef-config/config"
require "chef-config/mixin/dot_d"
require "fileutils"
require "json"
require "net/http"
require "socket"
require "tmpdir"
require_relative "../lib/chef_failover"

CONTRACT = File.expand_path("../../tests/contract", __dir__)
SHIM = File.expand_path("../lib/chef_failover.rb", __dir__)
CLIENT_D = File.expand_path("../client.d/chef_failover.rb", __dir__)

def contract(name)
  JSON.parse(File.read(File.join(CONTRACT, name)))
end

# A sidecar of a few lines on a real Unix socket: each connection is given to the block, in a thread of its own. The
# requests it read are kept.
class FakeSidecar
  attr_reader :requests

  def initialize(path, answers = {}, &behaviour)
    @server = UNIXServer.new(path)
    @answers = answers
    @requests = Queue.new
    @threads = [Thread.new { accept(behaviour || method(:serve)) }]
  end

  def stop
    @threads.each(&:kill).each(&:join)
    @server.close
  end

  # The request lines so far.
  def asked
    Array.new(requests.size) { requests.pop.first }
  end

  # The bodies posted to /v1/runs so far.
  def runs
    posted = Array.new(requests.size) { requests.pop }.select { |line, _| line.start_with?("POST /v1/runs ") }
    posted.map { |_, body| JSON.parse(body) }
  end

  def answer(target, status, document)
    @answers[target] = [status, document]
  end

  def self.http(status, body)
    "HTTP/1.0 #{status} X\r\nContent-Type: application/json\r\nContent-Length: #{body.bytesize}\r\n\r\n#{body}"
  end

  private

  def accept(behaviour)
    loop do
      peer = @server.accept
      @threads << Thread.new do
        behaviour.call(peer)
      rescue SystemCallError, IOError
        nil
      ensure
        peer.close
      end
    end
  rescue IOError
    nil
  end

  def serve(peer)
    head = +""
    head << peer.readline until head.end_with?("\r\n\r\n")
    body = peer.read(head[/^content-length: (\d+)/i, 1].to_i)
    requests << [head.lines.first.chomp, body, head]
    status, document = @answers.fetch(head.split[1].split("?").first) { [200, { "schema" => 1 }] }
    peer.write(self.class.http(status, document.is_a?(String) ? document : JSON.generate(document)))
  end
end

# As much of Chef as the shim meets: Chef::Config is the real one, the event DSL registers where Chef's does and gives
# each event to the handler's method as the dispatcher does.
module FakeChef
  Handler = Class.new

  # What a block given to Chef.event_handler runs in.
  class Dsl
    attr_reader :handler

    def initialize
      @handler = Handler.new
      ChefConfig::Config[:event_handlers] << @handler
    end

    def on(event, &block)
      @handler.define_singleton_method(event) { |*args| instance_exec(*args, &block) }
    end
  end

  # Keeps what is logged.
  class Log
    def self.lines
      @lines ||= []
    end

    %i[debug info warn].each do |level|
      define_singleton_method(level) { |text| lines << [level, text] }
    end
  end

  def self.event_handler(&block)
    Dsl.new.instance_eval(&block)
  end

  def self.run_context
    nil
  end
end

# The way chef-client reads its files: client.rb, the command line merged over it, client.d in order.
class FakeApplication
  include ChefConfig::Mixin::DotD

  def initialize(directory)
    @directory = directory
  end

  def configure(**command_line)
    client_rb = File.join(@directory, "client.rb")
    apply_config(File.read(client_rb), client_rb)
    ChefConfig::Config.merge!(command_line)
    load_dot_d(File.join(@directory, "client.d"))
    ChefConfig::Config[:chef_server_url] = command_line[:chef_server_url] if command_line.key?(:chef_server_url)
  end

  def apply_config(content, path)
    ChefConfig::Config.from_string(content, path)
  end
end

# As much of Chef::Node as the shim meets, with the attributes as a Hash.
class FakeNode
  attr_accessor :chef_environment, :policy_name, :policy_group, :automatic_attrs, :primary_runlist, :override_runlist

  def initialize(run_list = %w[recipe[web::ssl]], cookbooks = { "web" => "1.2.3", "yum" => "7.4.13" }, automatic = {})
    @primary_runlist = run_list
    @chef_environment = "production"
    versions = cookbooks.transform_values { |version| { "version" => version } }
    @automatic_attrs = { "cookbooks" => versions, "platform" => "amazon" }.merge(automatic)
  end

  def run_list
    override_runlist || primary_runlist
  end
end

# What the specs say in one word.
module Places
  def dir
    @dir ||= Dir.mktmpdir("shim")
  end

  def path(name)
    File.join(dir, name)
  end

  def config
    ChefConfig::Config
  end

  # What was accepted by the contract, with its places moved into the temporary directory.
  def write_accepted(changes = {})
    places = { "socket" => path("sidecar.sock"), "state_file" => path("state.json") }
    File.write(accepted, JSON.generate(contract("accepted.json").merge(places, changes)))
  end

  def accepted
    path("config.yml.accepted.json")
  end

  def write_state(document = contract("state.json"))
    File.write(path("state.json"), document.is_a?(String) ? document : JSON.generate(document))
  end

  def sidecar(answers = {}, &behaviour)
    @sidecar ||= FakeSidecar.new(path("sidecar.sock"), answers, &behaviour)
  end

  def sidecar_answers(changes = {})
    sidecar.answer("/v1/server", 200, contract("server.json").merge(changes))
  end

  def apply
    ChefFailover.apply(config, path("config.yml"))
  end

  # What is read when chef-client starts, and the start of the run, which has the last word.
  def start_run
    apply
    FakeChef::Log.lines.clear
    dispatch(:run_start, "18.11.21", nil)
  end

  def chosen
    config[:chef_server_url]
  end

  def warnings
    FakeChef::Log.lines.select { |level, _| level == :warn }.map(&:last)
  end

  def seconds
    start = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    yield
    Process.clock_gettime(Process::CLOCK_MONOTONIC) - start
  end

  # For bounds of milliseconds, on a machine that may be busy with other things.
  def quickest(&block)
    Array.new(5) { seconds(&block) }.min
  end

  def dispatch(event, *args)
    config[:event_handlers].each { |handler| handler.public_send(event, *args) if handler.respond_to?(event) }
  end

  def argv(*words)
    stub_const("ARGV", words)
  end
end

MAIN = "https://chef-a.example.com/organizations/default"
STANDBY = "https://chef-b.example.com:8443/organizations/default"
CA_FILE = "/etc/chef/trusted_certs/chef-b.pem"
ELSEWHERE = "https://elsewhere.example.net/organizations/x"

RSpec.configure do |rspec|
  rspec.include Places
  rspec.disable_monkey_patching!
  rspec.mock_with(:rspec) { |mocks| mocks.verify_partial_doubles = true }
  rspec.before do |example|
    ChefConfig::Config.reset
    ChefConfig::Config.config_strict_mode(false) # which a spec may have set, and reset leaves
    ChefFailover.instance_variables.each { |name| ChefFailover.remove_instance_variable(name) }
    FakeChef::Log.lines.clear
    stub_const("ARGV", [])
    unless example.metadata[:without_chef]
      stub_const("Chef", FakeChef)
      stub_const("Chef::Config", ChefConfig::Config)
    end
    write_accepted
    allow(File).to receive(:file?).and_call_original
    allow(File).to receive(:file?).with(CA_FILE).and_return(true)
  end
  rspec.after do
    @sidecar&.stop
    FileUtils.remove_entry(dir)
  end
end
