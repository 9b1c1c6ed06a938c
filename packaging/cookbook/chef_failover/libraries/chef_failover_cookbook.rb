# frozen_string_literal: true

require 'digest'
require 'json'
require 'time'

# What the resource and the recipe decide. (The module ChefFailover is the shim's, in the same process.)
module ChefFailoverCookbook
  COMMAND = '/usr/bin/chef-failover'
  CONFIG = '/etc/chef-failover/config.yml'
  ACCEPTED = "#{CONFIG}.accepted.json"
  DROP_INS = '/etc/systemd/system/chef-failover.service.d'
  SOCKET = '/run/chef-failover/sidecar.sock'
  STATE_DIR = '/var/lib/chef-failover'
  REPOSITORY = '/etc/yum.repos.d/chef-failover.repo'
  WRITTEN_BY_CHEF = "# Chef writes this file, by the resource chef_failover.\n"
  OF_REPOSITORY = %w(baseurl gpgkey gpgcheck repo_gpgcheck).freeze
  FLEETS_LIST = "the fleet's list"
  SAME_END_S = 60

  # Whether a node is among the first `percent` of a fleet: always the same nodes, and all of them are there at 100. A node
  # that is among 5 percent is among 20, too.
  def self.chosen?(node_name, percent)
    Digest::SHA256.hexdigest("chef_failover #{node_name}")[0, 12].to_i(16) % 10_000 < percent * 100
  end

  # The organization of the server that a run uses; false if it has none. In local mode there is no such server.
  def self.organization(chef_config)
    return 'default' if chef_config[:local_mode] || chef_config[:solo_legacy_mode]

    chef_config[:chef_server_url].to_s[%r{/organizations/([^/]+)/*\z}, 1] || false
  end

  # What is wrong with where the package comes from.
  def self.package_mistakes(source, checksum, repository)
    {
      'package_source: stands with repository; give one of the two' => source && repository,
      "package_source: #{source.inspect} is not an RPM; write its absolute path or its URL" =>
        source && !source.match?(%r{\A(?:/|https?://)}),
      'package_checksum: is missing, and http proves nothing; write the SHA-256 of the RPM' =>
        source.to_s.start_with?('http:') && !checksum,
    }.merge(repository ? repository_mistakes(repository) : {}).select { |_, is_so| is_so }.keys
  end

  def self.repository_mistakes(keys)
    {
      'repository: needs the key baseurl' => !keys.key?('baseurl'),
      "repository: unknown key; known here: #{OF_REPOSITORY.join(', ')}" => !(keys.keys - OF_REPOSITORY).empty?,
      'repository: a value has a line break; the file of the repository has one line for each' =>
        keys.values.flatten.any? { |value| value.to_s.match?(/[\r\n]/) },
    }
  end
  private_class_method :repository_mistakes

  # The repository's file. What is not said to be unsigned has to be signed.
  def self.repository(keys)
    keys = { 'gpgcheck' => true, 'repo_gpgcheck' => true }.merge(keys)
    said = keys.map { |key, value| "#{key}=#{{ true => 1, false => 0 }.fetch(value) { Array(value).join(' ') }}\n" }
    "#{WRITTEN_BY_CHEF}[chef-failover]\nname=chef-failover\n#{said.join}"
  end

  # The drop-in with which systemd, which is root, hands the service a copy of chef-client's key. Without SetCredential,
  # the service would not start while the file is missing.
  def self.drop_in(client_key)
    "#{WRITTEN_BY_CHEF}[Service]\nLoadCredential=client.pem:#{client_key}\nSetCredential=client.pem:(missing)\n"
  end

  # Whether the file at `path` is one of those.
  def self.drop_in?(path)
    File.file?(path) && File.read(path, encoding: 'UTF-8').start_with?(WRITTEN_BY_CHEF)
  end

  # Whether the key at `path` lies where the service keeps its state, or is going to.
  def self.services_own?(path, config, accepted)
    kept_in = [config['state_dir'] || STATE_DIR, *(File.dirname(accepted['state_file']) if accepted['state_file'])]
    kept_in.map { |directory| File.expand_path(directory) }.include?(File.dirname(path))
  end

  # What root has accepted of config.yml, by which sidecar and shim go; {} before the first start.
  def self.accepted(path = ACCEPTED)
    JSON.parse(File.read(path, encoding: 'UTF-8'))
  rescue Errno::ENOENT, JSON::ParserError
    {}
  end

  # Whether the running service has other places than `config`, which it cannot change without a restart.
  def self.moved?(accepted, config)
    return false if accepted.empty?

    socket = (config['listen'] || {})['socket'] || SOCKET
    accepted.values_at('socket', 'state_file') != [socket, File.join(config['state_dir'] || STATE_DIR, 'state.json')]
  end

  # Whether `drain`, of a server in `chef-failover status --json`, is what is asked for. The fleet's list drains beside the
  # node, and only the drain that holds for longer is shown.
  def self.drained?(drain, reason, ends_at)
    return !drain.nil? if drain.nil? || drain['who'] == FLEETS_LIST
    return false if drain['reason'] != reason

    ends_at.nil? || (!drain['ends'].nil? && (Time.iso8601(drain['ends']) - ends_at).abs < SAME_END_S)
  end

  # What a node keeps when chef-failover goes: what runs use now, in a file of client.d.
  class Kept
    attr_reader :key_from, :key_to, :ca_from, :ca_to

    # used: of `chef-failover server --json`, null where client.rb decides. server: another one than that, by its name.
    def initialize(used, accepted, etc_dir, server = nil)
      unless used.key?('node_name')
        raise 'the sidecar does not answer, so what this node would lose with it is not known: systemctl status chef-failover'
      end

      used = used.merge(find(accepted.fetch('servers'), server)) if server
      @url, @name, @key = used.values_at('chef_server_url', 'node_name', 'client_key')
      @key_from = @key if @key && File.dirname(@key) == File.dirname(accepted.fetch('state_file'))
      @key_to = File.join(etc_dir, 'client.pem')
      @ca_from = used['ssl_ca_file']
      @ca_to = File.join(etc_dir, 'trusted_certs', "chef-failover-#{File.basename(@ca_from, '.*')}.pem") if @ca_from
    end

    # For client.d: sets only what neither client.rb nor the command line sets.
    def client_rb
      key = @key_from ? @key_to : @key
      "# Chef wrote this when chef-failover was removed: what client.rb does not say, this node had from there.\n" \
        "chef_server_url #{@url.inspect} if [nil, \"https://localhost:443\"].include?(chef_server_url)\n" +
        (@name ? "node_name #{@name.inspect} unless node_name\n" : '') +
        (key ? "client_key #{key.inspect} unless File.exist?(client_key.to_s)\n" : '')
    end

    # What stands where the key is to be: another key would be lost.
    def check_place_of_key
      return unless @key_from && File.exist?(@key_to) && File.binread(@key_to) != File.binread(@key_from)

      raise "#{@key_to} is another key than #{@key_from}, which this node uses; move it away first"
    end

    private

    def find(servers, name)
      found = servers.find { |one| one['name'] == name }
      found || raise("server: config.yml has no #{name.inspect}; it has: #{servers.map { |one| one['name'] }.join(', ')}")
    end
  end
end
