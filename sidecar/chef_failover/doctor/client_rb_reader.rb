# frozen_string_literal: true

# Reads client.rb and client.d as chef-client does, and says what comes of it: client_rb_reader.rb FD CLIENT_RB URL...
#
# `check --node` starts it, in the Ruby of chef-client, as a process of its own that may be killed at any moment. It
# writes JSON to the file descriptor FD, a document a line: {"reading": file} before each file, then one of
# {"settings": ...}, {"failed": ...} and {"unusable": true}. What the files print goes wherever our output goes.
#
# The order is chef-client's (Chef::Application::Client#load_config_file): client.rb, then the path of client.rb as
# config_file, on which the other paths depend, then client.d by name. It is no part of the shim and stands beside the
# code that starts it: chef-client never loads it, and the two change together.
#
# Values are told of the settings named here alone, and of an exception its class, its place and the file it could not load.
# Its message may quote the file, where secrets are.

require "json"
require "uri"

# One reading of chef-client's configuration.
class ClientRbReader
  SHIM = "chef_failover.rb"
  SETTINGS = %i[
    chef_server_url node_name client_key ssl_verify_mode verify_api_cert ssl_ca_file ssl_ca_path trusted_certs_dir client_d_dir
    ssl_client_cert ssl_client_key policy_name policy_group environment json_attribs minimal_ohai local_mode solo_legacy_mode
    automatic_attribute_whitelist allowed_automatic_attributes automatic_attribute_blacklist blocked_automatic_attributes
  ].freeze

  # What may be told, as JSON knows it.
  module Plain
    LONGEST = 1000
    USER_INFO = %r{(?<=://)[^/\s]*@}.freeze

    def self.value(value)
      case value
      when nil, true, false then value
      when Hash then value.transform_values { |one| value(one) }
      when Array then value.first(LONGEST).map { |one| value(one) }
      else value.to_s.dup.force_encoding(Encoding::UTF_8).scrub("?").gsub(USER_INFO, "")[0, LONGEST]
      end
    end

    def self.failure(error, file, is_whole)
      place = error.backtrace_locations.to_a.find { |one| one.path == file }
      line = place ? place.lineno : error.message[/\A#{Regexp.escape(file.to_s)}:(\d+)/, 1]
      is_about_missing_parts = error.is_a?(NameError) || (error.is_a?(LoadError) && !error.path.to_s.start_with?("/"))
      { file: file, line: line, error: error.class, path: (error.path if error.is_a?(LoadError)),
        is_unclear: is_about_missing_parts && !is_whole }
    end
  end

  # Takes the place of the shim's question to the sidecar, which would have servers probed.
  module NobodyAsked
    def call(*)
      raise ::ChefFailover::Unusable, "it is not asked now"
    end
  end

  def initialize(report, client_rb, urls)
    @report = report
    @client_rb = client_rb
    @urls = urls
    @theirs = {}
    @ours = {}
    @set_by = {}
    @set_late = {}
  end

  def run
    return tell(unusable: true) unless load_libraries

    read_all
    tell(settings: settings)
  rescue Exception => e # rubocop:disable Lint/RescueException -- exit and SyntaxError end chef-client so, too
    tell(failed: Plain.failure(e, @file, @is_whole))
  end

  private

  def tell(document)
    @report.puts(JSON.generate(Plain.value(document)))
  end

  # All of chef-client, since files use it; else its configuration alone.
  def load_libraries
    require "chef"
    require "chef/application/client"
    require "chef-config/mixin/dot_d"
    @is_whole = true
  rescue LoadError
    load_chef_config
  end

  def load_chef_config
    %w[chef-config/config chef-config/version chef-config/mixin/dot_d].each { |library| require library }
    require "ohai/config" # its settings are part of Chef's
    true
  rescue LoadError
    defined?(::ChefConfig::Mixin::DotD)
  end

  def config
    ::ChefConfig::Config
  end

  def read_all
    silence_shim(File.join(File.dirname(@client_rb), "client.d", SHIM)) # client.rb may load it itself
    read(@client_rb) if File.exist?(@client_rb)
    config.merge!(config_file: @client_rb)
    client_d_dir = config[:client_d_dir]
    Object.new.extend(::ChefConfig::Mixin::DotD).find_dot_d(client_d_dir).each { |file| read(file) } if client_d_dir
  end

  def read(file)
    tell(reading: @file = file)
    is_ours = File.basename(file) == SHIM
    silence_shim(file) if is_ours
    SETTINGS.each { |setting| value(setting) } if is_ours # the shim reads some, and Chef keeps a default once it was read
    before = config.save
    config.from_string(File.read(file), file)
    is_ours ? note_ours(changes(before)) : note_theirs(file, changes(before))
  end

  # A setting that was given its old value again is another object, unless it is a symbol or the like.
  def changes(before)
    config.save.slice(*SETTINGS).reject { |setting, value| value.equal?(before[setting]) }
  end

  def note_ours(changes)
    @is_shim_read = true
    @ours.merge!(changes)
  end

  def note_theirs(file, changes)
    @theirs.merge!(changes)
    changes.each_key do |setting|
      @set_by[setting] = file
      @set_late[setting] = file if @is_shim_read
    end
  end

  def silence_shim(file)
    library = File.readable?(file) && File.read(file)[%r{["'](/[^"']+/chef_failover\.rb)["']}, 1]
    return unless library && File.readable?(library)

    require library
    ::ChefFailover::Exchange.prepend(NobodyAsked)
  rescue NameError, LoadError # half removed, and then it asks nobody
    nil
  end

  def settings
    { version: defined?(::Chef::VERSION) ? ::Chef::VERSION : ::ChefConfig::VERSION, is_whole: @is_whole == true,
      is_shim_read: @is_shim_read == true, theirs: theirs, ours: @ours, set_by: @set_by,
      set_late: @set_late, ohai: ohai, proxies: proxies }
  end

  # What counts without the shim.
  def theirs
    unset = SETTINGS - @theirs.keys - @ours.keys
    chef_zero = value(:chef_zero) || { enabled: false } # it follows local_mode, unless it is set
    unset.map { |setting| [setting, value(setting)] }.to_h.merge(@theirs).merge("chef_zero.enabled": chef_zero[:enabled])
  end

  # A strict Chef raises over what it does not know, and no Chef knows all of them.
  def value(setting)
    config[setting]
  rescue StandardError
    nil
  end

  # Only symbols disable a plugin.
  def ohai
    found = value(:ohai)
    return {} unless found

    { disabled_plugins: Array(found[:disabled_plugins]).grep(Symbol), plugin_path: Array(found[:plugin_path]) }
  end

  # Through which proxy a run reaches each server, by Chef's own rules. nil where a run fails over it.
  def proxies
    config.export_proxies
    @urls.map { |url| [url, config.proxy_uri(*URI(url).select(:scheme, :host, :port))] }.to_h
  rescue StandardError
    nil
  end
end

if $PROGRAM_NAME == __FILE__
  report = IO.for_fd(Integer(ARGV.shift), "w")
  report.sync = report.close_on_exec = true
  client_rb, *urls = ARGV
  ARGV.clear # the shim looks there for -S
  $PROGRAM_NAME = "chef-client"
  ClientRbReader.new(report, client_rb, urls).run
  exit!(0) # what the files have put at the end is for a run
end
