# frozen_string_literal: true

unified_mode true
resource_name :chef_failover
provides :chef_failover
default_action :install

# The package: from package_source, from repository, or from a repository that the node has.
property :package_source, String, description: 'The path or the URL of the RPM.'
property :package_checksum, String, regex: /\A\h{64}\z/, description: 'The SHA-256 of that RPM.'
property :repository, Hash, coerce: ->(keys) { keys.map { |key, value| [key.to_s, value] }.to_h },
                            description: 'A dnf repository: baseurl, gpgkey; gpgcheck and repo_gpgcheck are true unless set.'
property :version, String, description: 'The version to install, as dnf knows it. Without it, an installed one stays.'

# config.yml. What is not set is left out, and has the default of docs/configuration.md.
property :servers, Array, required: %i(install),
                          description: 'The Chef servers, in order of preference, with the keys that config.yml has. ' \
                                       'With [], chef-client goes by client.rb alone.'
property :node_name, String, default: lazy { node.name },
                             description: 'The name of the node; by default the one that it has.'
property :organization, [String, false], default: lazy { ChefFailoverCookbook.organization(Chef::Config) },
                                         description: 'The organization on every server; false if they have none. By ' \
                                                      'default that of the server that the run uses.'
property :client_key, [String, Symbol], coerce: ->(key) { key.to_s }, regex: %r{\A(?:handed_over|/.+)\z},
                                        description: 'handed_over: systemd hands the key of chef-client to the service. ' \
                                                     'A path: a key that the service may read. Not set: it finds a key, ' \
                                                     'or makes one.'
property :key_bits, Integer, equal_to: [2048, 3072, 4096], description: 'The length of a key that the service makes.'
property :policy_group, String, description: 'With policy_name: a standby needs this policy, and no node object.'
property :policy_name, String, description: 'See policy_group.'
property :trusted_hosts, Array, description: 'Hosts that are accepted in addition to those of servers.'
property :health, Hash, description: 'How servers are probed: interval, timeout, rise, fall and others.'
property :selection, Hash, description: 'How the node moves back: failback.'
property :listen, Hash, description: 'Where the service answers: socket, loopback.'
property :readiness, [String, Symbol], description: 'What to do about a missing node object: seed, check or off.'
property :parity, [String, Symbol], description: 'What to do about a stale standby: warn, require or off.'
property :state_dir, String, description: 'Where the service keeps its state.'
property :metrics, Hash, description: 'Where metrics are written: textfile.'
property :discovery, Hash, description: 'Where the list of the fleet is: source, interval, region and others.'
property :fleet, Hash, description: 'How large the fleet is: nodes.'
property :log_format, [String, Symbol], description: 'How the service logs: text or json.'

# drain and undrain; remove has the node keep this server.
property :server, String, description: 'The server to drain; of remove, the one that the node keeps using.'
property :reason, String, default: lazy { [cookbook_name, recipe_name].compact.join('::') },
                          description: 'Why it is drained, for people who look at the node.'
property :duration, String, description: 'How long it is drained, as in 2h. Once that is over, a run drains it again.'
property :ends_at, [String, Time], coerce: ->(at) { at.is_a?(Time) ? at : Time.iso8601(at) },
                                   description: 'Until when it is drained: 2026-11-22T18:00:00Z. A later run changes nothing.'
property :force, [true, false], default: false, description: 'Drain it even if no other server is left.'

action :install do
  config = config_yml
  text = ChefFailoverCookbook::ConfigYml.text(config)
  install_package
  file ChefFailoverCookbook::CONFIG do
    content text
    owner 'root'
    group 'root'
    mode '0644'
    # Nothing can check it where --why-run has not installed the package.
    verify "#{ChefFailoverCookbook::COMMAND} check --only-file --config %{path}" unless whyrun_mode? && !installed?
    sensitive new_resource.sensitive
  end
  hand_over_key(config)
  run_service(config, text)
end

action :remove do
  keep_what_runs_use if installed? && ChefFailoverCookbook.accepted.fetch('servers', []).any?
  dnf_package 'chef-failover' do
    action :remove
  end
  execute 'systemctl daemon-reload' do
    action :nothing
  end
  file drop_in do
    action :delete
    notifies :run, 'execute[systemctl daemon-reload]', :immediately
  end
  directory ChefFailoverCookbook::DROP_INS do
    action :delete
    only_if { ::Dir.exist?(ChefFailoverCookbook::DROP_INS) && ::Dir.empty?(ChefFailoverCookbook::DROP_INS) }
  end
  file ChefFailoverCookbook::REPOSITORY do
    action :delete
    only_if { new_resource.repository }
  end
end

action :drain do
  named = named_server
  ends_at = new_resource.ends_at
  raise 'chef_failover: duration and ends_at stand together; give one of the two' if ends_at && new_resource.duration

  asked_for = ends_at ? "#{(ends_at - Time.now).ceil}s" : new_resource.duration
  execute "drain #{named}" do
    command [ChefFailoverCookbook::COMMAND, 'drain', named, '--reason', new_resource.reason,
             *(['--for', asked_for] if asked_for), *('--force' if new_resource.force)]
    not_if { ends_at && ends_at <= Time.now }
    not_if { ChefFailoverCookbook.drained?(drain_of(named), new_resource.reason, ends_at) }
  end
end

action :undrain do
  named = named_server
  execute "undrain #{named}" do
    command [ChefFailoverCookbook::COMMAND, 'undrain', named]
    only_if { (drain_of(named) || {}).fetch('who', ChefFailoverCookbook::FLEETS_LIST) != ChefFailoverCookbook::FLEETS_LIST }
  end
end

action_class do
  # Raises before anything is changed. What has a default is set, too.
  def config_yml
    names = ChefFailoverCookbook::ConfigYml::OF_NODE.keys + ChefFailoverCookbook::ConfigYml::OF_FILE
    set = names.select { |name| new_resource.property_is_set?(name) || %w(node_name organization).include?(name) }
    ChefFailoverCookbook::ConfigYml.config(
      set.map { |name| [name, new_resource.public_send(name)] }.to_h,
      ChefFailoverCookbook.package_mistakes(new_resource.package_source, new_resource.package_checksum, new_resource.repository)
    )
  end

  def installed?
    ::File.exist?(ChefFailoverCookbook::COMMAND)
  end

  def install_package
    add_repository if new_resource.repository
    rpm = rpm_given? && fetch_rpm
    dnf_package 'chef-failover' do
      source rpm if rpm
      version new_resource.version if new_resource.version
      # An RPM that is newer than what is installed replaces it.
      action(rpm_given? && new_resource.version.nil? ? :upgrade : :install)
    end
  end

  def rpm_given?
    !new_resource.package_source.nil?
  end

  # Not with yum_repository: that of Chef 16 looks for a yum that Amazon Linux 2023 does not have.
  def add_repository
    dnf_package 'read the repositories again' do
      package_name 'chef-failover'
      action :nothing
    end
    file ChefFailoverCookbook::REPOSITORY do
      content ChefFailoverCookbook.repository(new_resource.repository)
      owner 'root'
      group 'root'
      mode '0644'
    end
    # Not when that file has changed: if the repository does not answer now, the next run needs this, too.
    execute 'dnf -q -y makecache --repo chef-failover' do # takes the key, too
      not_if { shell_out('rpm', '-q', ['chef-failover', new_resource.version].compact.join('-')).exitstatus.zero? }
      notifies :flush_cache, 'dnf_package[read the repositories again]', :immediately
    end
  end

  # By a copy, for the checksum to hold for what is installed, wherever it comes from.
  def fetch_rpm
    from = new_resource.package_source
    to = ::File.join(Chef::Config[:file_cache_path], 'chef-failover.rpm')
    remote_file to do
      source from.start_with?('/') ? "file://#{from}" : from
      checksum new_resource.package_checksum if new_resource.package_checksum
      owner 'root'
      mode '0600'
      backup false
    end
    to if ::File.exist?(to) # with --why-run it was not fetched
  end

  def drop_in
    "#{ChefFailoverCookbook::DROP_INS}/client-key.conf"
  end

  # systemd copies the key when the service starts, so a changed drop-in stops it, and run_service starts it.
  def hand_over_key(config)
    key = key_to_hand_over(config)
    return unless key || ChefFailoverCookbook.drop_in?(drop_in)

    execute 'systemctl daemon-reload' do
      action :nothing
    end
    service 'stop for the key' do
      service_name 'chef-failover'
      action :nothing
    end
    directory ChefFailoverCookbook::DROP_INS do
      owner 'root'
      mode '0755'
    end
    file drop_in do
      content ChefFailoverCookbook.drop_in(key) if key
      owner 'root'
      group 'root'
      mode '0644'
      action(key ? :create : :delete)
      notifies :run, 'execute[systemctl daemon-reload]', :immediately
      notifies :stop, 'service[stop for the key]', :immediately
    end
  end

  # nil where it is not to be handed over, or is the service's own: chef-client has that from the service.
  def key_to_hand_over(config)
    return if new_resource.client_key != ChefFailoverCookbook::ConfigYml::HANDED_OVER

    key = Chef::Config[:client_key] || ::File.join(Chef::Config.etc_chef_dir, 'client.pem')
    key unless ChefFailoverCookbook.services_own?(key, config, ChefFailoverCookbook.accepted)
  end

  # Root accepts config.yml at each start and at each reload. What counts is what was accepted, not that the file has just
  # changed: so a reload that failed, or a run that ended before it, is made up for by the next run.
  def run_service(config, text)
    service 'stop for new places' do
      service_name 'chef-failover'
      action :stop
      only_if { ChefFailoverCookbook.moved?(ChefFailoverCookbook.accepted, config) }
    end
    service 'chef-failover' do
      action %i(enable start)
    end
    service 'accept config.yml' do
      service_name 'chef-failover'
      action :reload
      not_if { ChefFailoverCookbook.accepted['text'] == text }
    end
  end

  # Neither name nor key nor URL may go with the package.
  def keep_what_runs_use
    service 'chef-failover' do
      action :start
    end
    used = JSON.parse(shell_out!(ChefFailoverCookbook::COMMAND, 'server', '--json').stdout)
    kept = ChefFailoverCookbook::Kept.new(used, ChefFailoverCookbook.accepted, Chef::Config.etc_chef_dir, new_resource.server)
    kept.check_place_of_key
    copy(kept.key_from, kept.key_to, '0600') if kept.key_from
    copy(kept.ca_from, kept.ca_to, '0644') if kept.ca_from
    file ::File.join(Chef::Config.etc_chef_dir, 'client.d', 'chef_failover_kept.rb') do
      content kept.client_rb
      owner 'root'
      group 'root'
      mode '0644'
    end
  end

  # No backup: a key in Chef's cache would be one more to guard.
  def copy(from, to, bits)
    directory ::File.dirname(to)
    file to do
      content ::File.binread(from)
      owner 'root'
      group 'root'
      mode bits
      sensitive true
      backup false
    end
  end

  def named_server
    new_resource.server || raise("chef_failover: #{new_resource.action.join(', ')} needs the property server")
  end

  # As the sidecar has it; nil without a drain.
  def drain_of(name)
    status = JSON.parse(shell_out(ChefFailoverCookbook::COMMAND, 'status', '--json').stdout)
    raise "chef_failover: #{status['error']}" if status['error']

    status.fetch('drains', {})[name] || (status.fetch('servers').find { |one| one['name'] == name } || {})['drain']
  end
end
