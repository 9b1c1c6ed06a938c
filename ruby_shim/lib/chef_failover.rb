# frozen_string_literal: true

# The part of chef-failover that runs inside chef-client, as root. It asks which Chef server to use, checks the answer,
# sets it and reports how the run went. Which server is best is decided elsewhere: there is no policy here.
#
# Three layers give an answer, and what keeps one of them from doing so is one warning and a step to the next: the
# sidecar on its Unix socket; the choice the sidecar last wrote to state.json; the first server of config.yml. Asking
# the sidecar has one absolute deadline from connect to the last byte, the others only read a file. So a sidecar that is
# gone, hangs or talks rubbish costs a bounded time and never the run.
#
# Only config.yml is believed, because only root can write it. Socket and state.json belong to the sidecar's own user,
# and chef-client executes what its server sends. So their URL must be that of a listed server, organization and all, or
# https to a trusted host, written in the few characters that no two parsers read differently, and the files they name
# must be named by config.yml too. What is refused falls to the next layer.
#
# It acts twice. When client.d is read it sets Chef::Config, by what the sidecar knows at that moment. But a daemonised
# chef-client reads client.d again only after a successful run, and a failed one would keep the dead server for ever; so
# an event handler chooses anew at every run_start, the last moment before the first request, and waits for fresh
# results if it must. (It runs in the forked child, so what it sets ends with that run.) There only what was found or set
# here is changed: another URL is somebody's decision, made by -S or in a later file, and stays. Where there are no
# events, the first answer is the last, and is waited for.
#
# The first question of a run makes the sidecar probe; run_start, a tenth of a second later, accepts no result from
# before that. So a server that died before chef-client was started is never used, and each run costs one probe. And a
# sidecar that was silent to the first question is given little time for the others.
#
# Where it stays out: local mode and solo have no server; knife acts for a person, not for the node, and never reads
# client.d by itself. chef-shell reads /etc/chef/client.d when it is told to be the node (-z): there the URL is set, -S
# is merged over it afterwards, and no run ever starts. In target mode (-t) node_name and client_key are another device's;
# from Chef 19 on the API client has settings of its own there, which are set instead.
#
# An exception in client.d ends chef-client (code 1 up to Chef 15, 43 since) and one in run_start ends the run, so nothing
# is raised. But SystemExit and signals pass: while files are read TERM arrives as one of them, and swallowing it would
# let the run go on.
module ChefFailover
  SCHEMA = 1
  LONGEST_BYTES = 1 << 20
  MOST_PASSED_OVER = 20
  MOST_WARNINGS = 20
  REPORT_BUDGET_S = 0.8
  SILENT_BUDGET_S = 0.2
  OPENING_S = 5
  FACTS_BUDGET_S = 0.8
  FACTS_OF_CHOICE = %w[name chef_server_url since degraded reason].freeze
  FACTS_OF_ORDER = %w[server strict reason who created ends].freeze
  OPTIONS = { chef_server_url: %w[S server], node_name: %w[N node-name], client_key: %w[k client-key] }.freeze
  NODE_NAME = /\A[A-Za-z0-9_.:-]{1,255}\z/.freeze

  Choice = Struct.new(:server, :url, :node_name, :client_key, :ca_file, :reason, :is_degraded, :passed_over,
                      :warnings)

  # Why a layer has no answer.
  class Unusable < StandardError; end

  # The sidecar was given its time, and has not answered in it.
  class Silent < Unusable; end

  # The sidecar has no server to choose from, and nothing is to be touched.
  class NoServer < StandardError; end

  # One file or body of JSON, read with a limit and trusted with nothing.
  module Document
    def self.parse(text)
      require "json"
      document = JSON.parse(text.dup.force_encoding(Encoding::UTF_8), max_nesting: 20)
      raise Unusable, "not a JSON object" unless document.is_a?(Hash)
      raise Unusable, "schema #{document['schema'].inspect}, #{SCHEMA} is understood" unless document["schema"] == SCHEMA

      document
    rescue JSON::ParserError, EncodingError # whose message may quote the text
      raise Unusable, "not JSON"
    end

    # Neither a symbolic link nor a pipe in the sidecar's directory shall lead or stop root.
    def self.read(path)
      File.open(path, File::RDONLY | File::NONBLOCK | File::NOFOLLOW) do |file|
        raise Unusable, "not a file" unless file.stat.file?
        raise Unusable, "longer than #{LONGEST_BYTES} bytes" if file.size > LONGEST_BYTES

        parse(file.read(LONGEST_BYTES).to_s)
      end
    rescue SystemCallError, IOError => e
      raise Unusable, e.message
    end
  end

  # One HTTP/1.0 exchange over a Unix socket, over by an absolute deadline. No proxy has a say in it.
  class Exchange
    def initialize(path, budget_s)
      @path = path
      @budget_s = budget_s
      @deadline = now + budget_s
    end

    # The status and the JSON object of the answer; Unusable if there is none in time.
    def call(verb, target, body = nil)
      require "socket"
      socket = Socket.new(:UNIX, :STREAM)
      connect(socket, Socket.sockaddr_un(@path))
      write(socket, request(verb, target, body))
      parse(read(socket))
    rescue SystemCallError, IOError, ArgumentError => e # ArgumentError: the path is too long for a socket
      raise Unusable, e.message
    ensure
      socket&.close
    end

    private

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end

    def request(verb, target, body)
      length = body ? "Content-Type: application/json\r\nContent-Length: #{body.bytesize}\r\n" : ""
      "#{verb} #{target} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n#{length}\r\n#{body}"
    end

    def wait(reading, writing, at_most_s = @budget_s)
      left = @deadline - now
      raise Silent, "no complete answer within #{@budget_s} s" unless left.positive?

      IO.select(reading, writing, nil, [left, at_most_s].min)
    end

    def connect(socket, address)
      socket.connect_nonblock(address)
    rescue IO::WaitWritable
      wait(nil, [socket])
      retry
    rescue Errno::EAGAIN # its queue is full, and such a socket cannot be selected
      wait(nil, nil, 0.01)
      retry
    rescue Errno::EISCONN
      nil
    end

    def write(socket, text)
      until text.empty?
        written = socket.write_nonblock(text, exception: false)
        written == :wait_writable ? wait(nil, [socket]) : text = text.byteslice(written..-1)
      end
    end

    def read(socket)
      answer = String.new
      until whole?(answer)
        chunk = socket.read_nonblock(65_536, exception: false)
        break if chunk.nil?

        chunk == :wait_readable ? wait([socket], nil) : answer << chunk
        raise Unusable, "an answer longer than #{LONGEST_BYTES} bytes" if answer.bytesize > LONGEST_BYTES
      end
      answer
    end

    def whole?(answer)
      _, body, length = divide(answer)
      length && body.bytesize >= length
    end

    def divide(answer)
      head, body = answer.split("\r\n\r\n", 2)
      length = head[/^content-length: *(\d+)/i, 1] if body
      [head, body, length&.to_i]
    end

    def parse(answer)
      raise Unusable, "an empty answer" if answer.empty?

      head, body, length = divide(answer)
      status = head[%r{\AHTTP/1\.[01] (\d{3})\b}, 1]
      raise Unusable, "not an HTTP answer" unless status && body
      raise Unusable, "an answer cut short" if length && body.bytesize < length

      [status.to_i, Document.parse(body)]
    end
  end

  # A URL written so plainly that no two parsers read it differently.
  module Address
    # Spelled out instead of /i, which takes a Kelvin sign for a k.
    HOST = /[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]/.freeze
    URL = %r{\A(https?|HTTPS?)://(#{HOST})(?::(\d{1,5}))?((?:/[A-Za-z0-9._~%/-]*)?)\z}.freeze
    LONGEST_HOST = 253
    # What servers and proxies may each take for another path.
    AMBIGUOUS = %r{%|/\.{1,2}(?:/|\z)}.freeze

    # Scheme, host, port and path, or nil for what is not plainly a URL.
    def self.place(url)
      _, scheme, host, port, path = url.match(URL).to_a if url.is_a?(String)
      return if scheme.nil? || host.length > LONGEST_HOST

      port ||= { "https" => 443, "http" => 80 }[scheme.downcase]
      [scheme.downcase, host.downcase, port.to_i, path.sub(%r{/+\z}, "")]
    end

    # Chef refuses a scheme in capitals.
    def self.tidy(url)
      url.sub(%r{/+\z}, "").sub(/\A[A-Z]+/, &:downcase)
    end
  end

  # What config.yml says, as far as it matters here. The sidecar is the one to complain of what is wrong in it.
  class Settings
    UNITS = { "ms" => 0.001, "s" => 1, "m" => 60, "h" => 3600 }.freeze

    # A run asks more than once, and parsing is the slowest part of that: the file is read again only when it changed.
    def self.load(path)
      require "yaml"
      require "date"
      stat = File.stat(path)
      stamp = [path, stat.ino, stat.size, stat.mtime, stat.ctime]
      @last = [stamp, parse(path)] unless @last && @last.first == stamp
      @last.last
    rescue SystemCallError, IOError, Psych::Exception, ArgumentError, EncodingError => e
      raise Unusable, "#{path} cannot be used: #{e.message}"
    end

    def self.parse(path)
      text = File.read(path, encoding: Encoding::UTF_8)
      kinds = [Date, Time, Symbol]
      new(modern? ? YAML.safe_load(text, permitted_classes: kinds, aliases: true) : YAML.safe_load(text, kinds, [], true))
    end

    # Psych 3.1 (Ruby 2.6) brought the keywords, Psych 4 has nothing else.
    def self.modern?
      YAML.method(:safe_load).parameters.include?(%i[key permitted_classes])
    end

    def initialize(document = nil)
      @document = document || {}
      raise Unusable, "config.yml is not a mapping" unless @document.is_a?(Hash)
    end

    def servers
      @servers ||= Array(@document["servers"]).grep(Hash)
    end

    def socket
      text("listen", "socket") || "/run/chef-failover/sidecar.sock"
    end

    def state_file
      File.join(state_dir, "state.json")
    end

    def budget_s
      amount, unit = section("health")["timeout"].to_s.match(/\A(\d+(?:\.\d+)?)(ms|s|m|h)\z/).to_a.last(2)
      1 + (amount ? amount.to_f * UNITS[unit] : 3)
    end

    # The first server as a choice.
    def first_choice
      server = by_preference.find { |one| Address.place(one["url"]) && Address.place(url_of(one)) }
      raise Unusable, "no server in config.yml has a usable url" unless server

      Choice.new(server["name"], url_of(server), *identity, server["ca_file"])
    end

    # An answer from outside as a choice, without what config.yml does not vouch for.
    def vouch_for(answer)
      url = answer["chef_server_url"].to_s
      unless vouched?(url)
        raise Unusable, "refused #{url[0, 100]}: config.yml does not name this host, or not with this path, or it is not https"
      end

      Choice.new(answer["name"], Address.tidy(url), allowed(answer, "node_name") { |name| NODE_NAME.match?(name) },
                 allowed(answer, "client_key") { |path| same?(path, client_key) },
                 allowed(answer, "ssl_ca_file") { |path| ca_files.any? { |one| same?(path, one) } },
                 answer["reason"], answer["degraded"] == true, Array(answer["passed_over"]).grep(Hash).first(MOST_PASSED_OVER),
                 Array(answer["warnings"]).grep(String).first(MOST_WARNINGS))
    end

    private

    # On a listed host the path counts as well: others may make organizations of their own there.
    def vouched?(url)
      scheme, host, _, path = place = Address.place(url)
      return false unless scheme == "https"

      listed = servers.map { |one| Address.place(url_of(one)) if Address.place(one["url"]) }
      listed.include?(place) || (trusted?(host) && !path.match?(Address::AMBIGUOUS))
    end

    # The lowest priority first where there are any, else as listed.
    def by_preference
      servers.each_with_index.sort_by { |one, place| [one["priority"].is_a?(Integer) ? one["priority"] : 0, place] }.map(&:first)
    end

    # The name and the key, as far as they can be known here: {instance_id} is for the sidecar to fill in.
    def identity
      name = text("node", "name")
      return [nil, nil] unless name.nil? || NODE_NAME.match?(name)

      [name, (client_key if File.file?(client_key))]
    end

    def trusted?(host)
      Array(@document["trusted_hosts"]).grep(String).any? do |pattern|
        shape = Regexp.escape(pattern).gsub("\\*", ".+").gsub("\\?", ".")
        host.match?(/\A#{shape}\z/i)
      end
    end

    def allowed(answer, field)
      value = answer[field]
      return value if value.nil? || (value.is_a?(String) && yield(value))

      ChefFailover.log(:warn, "#{field} #{value.to_s[0, 100].inspect} is ignored: config.yml does not name it")
      nil
    end

    # The sidecar writes /etc//x and /etc/./x as /etc/x. What .. stands for only the kernel knows.
    def same?(*paths)
      paths.map { |path| path.to_s.gsub(%r{/+(?:\./+)*}, "/") }.uniq.one?
    end

    def ca_files
      servers.map { |server| server["ca_file"] }.grep(String)
    end

    def url_of(server)
      url = Address.tidy(server["url"])
      organization = server.fetch("organization") { section("node").fetch("organization", "default") }
      organization.nil? || url.include?("/organizations/") ? url : "#{url}/organizations/#{organization}"
    end

    def client_key
      text("node", "client_key") || File.join(state_dir, "client.pem")
    end

    def state_dir
      @document["state_dir"].is_a?(String) ? @document["state_dir"] : "/var/lib/chef-failover"
    end

    def section(name)
      @document[name].is_a?(Hash) ? @document[name] : {}
    end

    def text(name, key)
      value = section(name)[key]
      value if value.is_a?(String) && !value.empty?
    end
  end

  class << self
    # What client.d calls, whenever chef-client reads its configuration.
    def apply(config, path)
      guarded do
        next if stays_out?(config)

        @path = path
        @choice = nil
        @found = config[:chef_server_url]
        # Read again, these files precede no run: a daemon does it after one, long before the next.
        open_run(registered? ? nil : now)
        has_events = register # first: whatever goes wrong below, the next run_start tries again
        settings = Settings.load(path)
        set(config, resolve(settings, is_final: !has_events)) unless settings.servers.empty?
      end
    end

    # What the Ohai plugin publishes: the sidecar's facts, or what it wrote down before it went away.
    def facts(path, budget_s = FACTS_BUDGET_S)
      settings = usable { Settings.load(path) } || Settings.new
      status, facts = usable { ask(settings, budget_s, "GET", "/v1/facts") }
      facts = status == 200 ? facts.reject { |key, _| key == "schema" } : remembered_facts(settings)
      facts.merge(facts_of_run)
    rescue StandardError, ScriptError
      { "available" => false }
    end

    # The handler of run_start: (version) up to Chef 14, (version, run_status) since.
    def run_start(_version = nil, run_status = nil, *)
      guarded do
        @run = nil
        next if stays_out?(::Chef::Config) || given?(:chef_server_url)

        settings = usable { Settings.load(@path) } # what is wrong with it was said when client.d was read
        open_run(nil) unless opened?(settings)
        begin_run(settings, run_status) if still_ours?(::Chef::Config) && settings
      end
    end

    # The handler of run_completed and run_failed. A reboot comes as a failure after the success: only the first counts.
    def run_end(event, error = nil)
      guarded do
        next unless @run

        report(Settings.load(@path), event, error)
        @run = nil
      end
    end

    def log(level, text)
      line = "chef-failover: #{text.to_s.dup.force_encoding(Encoding::UTF_8).scrub('?').gsub(/[^[:print:]]/, '?')[0, 500]}"
      if defined?(::Chef::Log)
        ::Chef::Log.public_send(level, line)
      elsif level == :warn
        Kernel.warn(line)
      end
    rescue StandardError
      nil # a full disk behind the log is no reason to lose the run
    end

    private

    def guarded
      yield
    rescue NoServer
      nil
    rescue Unusable => e
      warn("#{e.message}; chef_server_url stays as it is")
    rescue StandardError, ScriptError => e # ScriptError: a library that is not there
      warn("#{e.class}: #{e.message}; chef_server_url stays as it is")
    end

    def warn(text)
      say(:warn, text)
    end

    # Each warning once for a run: client.d and run_start meet the same trouble.
    def say(level, text)
      is_known = level == :warn && @said&.include?(text)
      @said = [*@said, text] if level == :warn
      log(is_known ? :debug : level, text)
    end

    def usable
      yield
    rescue Unusable
      nil
    end

    def stays_out?(config)
      defined?(::Chef::Application::Knife) || config[:local_mode] || config[:solo] || config[:solo_legacy_mode] ||
        enabled?(config[:chef_zero]) || config[:chef_server_url].to_s.start_with?("chefzero:")
    end

    def enabled?(context)
      context && context[:enabled]
    end

    def remembered_facts(settings)
      state = usable { Document.read(settings.state_file) } || {}
      { "available" => false, "server" => pick(state["choice"], FACTS_OF_CHOICE), "pin" => pick(state["pin"], FACTS_OF_ORDER),
        "drains" => remembered_drains(state["drains"]), "servers" => state["servers"] }.compact
    end

    def remembered_drains(drains)
      return unless drains.is_a?(Hash)

      drains.keys.zip(drains.values.map { |drain| pick(drain, FACTS_OF_ORDER) }).to_h
    end

    def pick(value, keys)
      value.is_a?(Hash) ? value.select { |key, _| keys.include?(key) } : nil
    end

    # Only inside chef-client: where this very run goes, which the sidecar's settled choice need not be.
    def facts_of_run
      @run ? { "run" => { "server" => @run[:server], "chef_server_url" => @run[:chef_server_url] } } : {}
    end

    # --- asking

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end

    # A run begins, perhaps with the reading of client.d at that instant: what belonged to another is forgotten.
    def open_run(asked_at)
      @asked_at = asked_at
      @asked_by = Process.pid
      @is_silent = false
      @said = []
    end

    # The run that starts now is the one for which client.d was read, for the first time and a moment ago.
    def opened?(settings)
      asked_ago_s&.between?(0, OPENING_S + (settings ? settings.budget_s : 0))
    end

    # Seconds since the run's first question; nil where run_start asks it.
    def asked_ago_s
      @asked_at && (now - @asked_at)
    end

    def ask(settings, budget_s, *request)
      answer = Exchange.new(settings.socket, @is_silent ? [budget_s, SILENT_BUDGET_S].min : budget_s).call(*request)
      @is_silent = false
      answer
    rescue Silent
      @is_silent = true
      raise
    end

    # --- choosing

    # The first answer of the three layers. One that is not final is by whatever results there are, and another follows.
    def resolve(settings, is_final:)
      from_sidecar(settings, is_final) || from_state(settings) || from_config(settings)
    end

    def from_sidecar(settings, is_final)
      was_silent = @is_silent
      status, answer = ask(settings, settings.budget_s, "GET", question(is_final))
      raise NoServer if status == 404 && answer["title"] == "No server is configured"
      raise Unusable, "status #{status}: #{answer['title']}" unless status == 200

      announce(settings.vouch_for(answer), nil, is_final: is_final)
    rescue NoServer
      raise
    rescue StandardError => e # whatever an answer may do to the code above, there is a next layer
      log(was_silent ? :debug : :warn, "no usable answer from the sidecar at #{settings.socket}: #{e.message}")
      nil
    end

    # A run's first question has the servers probed from then on, and its last one waits for results from then on. A
    # daemon forks for each run, also for one that follows a failure at once, and then client.d is an earlier run's.
    def question(is_final)
      max_age = (asked_ago_s if @asked_by == Process.pid) || 0
      return format("/v1/server?max_age=%.3f", max_age) if is_final

      "/v1/server?wait=no#{'&max_age=0' if @asked_at}"
    end

    def from_state(settings)
      choice = Document.read(settings.state_file)["choice"]
      raise Unusable, "no choice in it" unless choice.is_a?(Hash)

      announce(settings.vouch_for(choice), "the last choice in #{settings.state_file}")
    rescue StandardError => e
      warn("no usable choice in #{settings.state_file}: #{e.message}")
      nil
    end

    def from_config(settings)
      announce(settings.first_choice, "the first server of config.yml")
    end

    def announce(choice, source, is_final: true)
      warnings = warnings_of(choice)
      notes = [source, ("degraded" if choice.is_degraded)].compact
      level = warnings.empty? && notes.empty? ? :info : :warn
      warnings.each { |line| say(is_final ? :warn : :debug, line) }
      say(is_final ? level : :debug, ["using #{choice.server} #{choice.url}", *notes, *choice.reason].join(", "))
      choice
    end

    def warnings_of(choice)
      choice.passed_over.to_a.map do |server|
        "Server #{server['reachable'] ? 'passed over' : 'not reachable'}: #{server['name']}: #{server['reason']}"
      end + choice.warnings.to_a
    end

    # --- setting

    def set(config, choice)
      unless given?(:chef_server_url)
        config[:chef_server_url] = choice.url
        set_ca_file(config, choice.ca_file)
        @choice = choice
      end
      is_targeting = value(config, :target) || enabled?(value(config, :target_mode))
      is_targeting ? set_api_client(config, choice) : set_identity(config, choice)
    end

    # Not every Chef knows every setting, and a strict one raises over what it does not know.
    def value(config, key)
      config[key] if config.key?(key)
    end

    def set_identity(config, choice)
      config[:node_name] = choice.node_name if choice.node_name && !given?(:node_name)
      config[:client_key] = choice.client_key if choice.client_key && !given?(:client_key)
    end

    # In target mode Chef 19 signs by these, and takes them from node_name and client_key where nobody has set them.
    def set_api_client(config, choice)
      return unless config.key?(:api_client_name) && config.key?(:api_client_key)

      config[:api_client_name] ||= choice.node_name unless given?(:node_name)
      config[:api_client_key] ||= choice.client_key unless given?(:client_key)
    end

    # Goes with the server, so it is taken back when the next choice has none.
    def set_ca_file(config, ca_file)
      ca_file = usable_ca_file(config, ca_file) if ca_file
      is_ours = @ca_file && config[:ssl_ca_file] == @ca_file
      @ca_file_before = config[:ssl_ca_file] unless is_ours
      config[:ssl_ca_file] = ca_file || @ca_file_before if ca_file || is_ours
      @ca_file = ca_file
    end

    # Chef ends over a file that is not there, and looks at none beside ssl_ca_path.
    def usable_ca_file(config, ca_file)
      warn("ssl_ca_path is set, so chef-client does not look at ssl_ca_file #{ca_file}") if config[:ssl_ca_path]
      return ca_file if File.file?(ca_file)

      warn("ssl_ca_file #{ca_file} is ignored: there is no such file")
      nil
    end

    # Whether the command line sets this: -S URL, -SURL, -WS URL, --server URL, --server=URL, --serv URL, and
    # --config-option chef_server_url=URL. An ambiguous abbreviation has ended chef-client before.
    def given?(setting)
      letter, name = OPTIONS.fetch(setting)
      ARGV.map(&:b).take_while { |argument| argument != "--" }.any? do |argument|
        long = argument[/\A--([^=]+)/, 1]
        (long && name.start_with?(long.downcase.tr("_", "-"))) ||
          argument.match?(/\A(?:-[WRfz]*#{letter}|(?:--config-o[a-z-]*=)?\s*#{setting}\s*=)/)
      end
    end

    # --- the run

    # Whether our handler will be called.
    def register
      return false unless defined?(::Chef.event_handler)

      @handler = make_handler unless registered?
      true
    rescue StandardError => e # then the first answer is the last
      warn("no event handler: #{e.class}: #{e.message}")
      false
    end

    # The marker is the handler itself in Chef's own list, which outlives this file but not a list somebody replaced.
    def registered?
      @handler && Array(::Chef::Config[:event_handlers]).include?(@handler)
    end

    def make_handler
      made = nil
      ::Chef.event_handler do
        made = handler
        on(:run_start) { |*args| ::ChefFailover.run_start(*args) }
        on(:run_completed) { |*_| ::ChefFailover.run_end("succeeded") }
        on(:run_failed) { |*args| ::ChefFailover.run_end("failed", args.first) }
      end
      made
    end

    # It is what was set here last or, if nothing could be, what was found.
    def still_ours?(config)
      return true if config[:chef_server_url] == (@choice ? @choice.url : @found)

      warn("chef_server_url is #{config[:chef_server_url]}, set by somebody else, and stays")
      set_ca_file(config, nil)
      false
    end

    def choose_anew(settings)
      set(::Chef::Config, resolve(settings, is_final: true)) unless settings.servers.empty?
    rescue NoServer, Unusable => e
      log(:info, "no new choice (#{e.message}), #{::Chef::Config[:chef_server_url]} stays")
    end

    def begin_run(settings, run_status)
      choose_anew(settings)
      return unless @choice

      @run = { schema: SCHEMA, run_id: run_id(run_status), server: @choice.server, chef_server_url: @choice.url }
      report(settings, "started")
    end

    def run_id(run_status)
      known = run_status.run_id if run_status.respond_to?(:run_id)
      return known if known

      require "securerandom"
      SecureRandom.uuid
    end

    def report(settings, event, error = nil)
      body = @run.merge(event: event, error_class: error && error.class.to_s)
      require "json"
      ask(settings, REPORT_BUDGET_S, "POST", "/v1/runs", JSON.generate(body))
    rescue Unusable => e
      log(:debug, "the sidecar did not take the report that the run #{event}: #{e.message}")
    end
  end
end
