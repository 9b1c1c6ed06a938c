# frozen_string_literal: true

module ChefFailover
  # What client.d, Ohai and Chef's events call. Nothing is raised from here.
  class Hooks
    REPORT_BUDGET_S = 0.8

    def initialize
      @run = Run.new
      @client_config = ClientConfig.new
    end

    # What client.d calls, whenever chef-client reads its configuration.
    def apply(config, path)
      guarded do
        next if ClientConfig.without_server?(config)

        @path = path
        @choice = nil
        @found = config[:chef_server_url]
        # Read again, these files precede no run: a daemon does it after one, long before the next.
        @run = Run.new(registered? ? nil : ChefFailover.now)
        has_events = register # first: whatever goes wrong below, the next run_start tries again
        choose(config, Settings.load(path), is_final: !has_events)
      end
    end

    # For Ohai. Inside chef-client also where this very run goes, which the sidecar's settled choice need not be.
    def facts(path)
      facts = Facts.collect(Settings.load(path), @run)
      @report ? facts.merge("run" => { "server" => @report[:server], "chef_server_url" => @report[:chef_server_url] }) : facts
    rescue StandardError, ScriptError
      { "available" => false }
    end

    # The handler of run_start: (version) up to Chef 14, (version, run_status) since.
    def run_start(_version = nil, run_status = nil, *)
      guarded do
        @report = nil
        next if ClientConfig.without_server?(::Chef::Config) || ClientConfig.given?(:chef_server_url)

        settings = Settings.load(@path)
        @run = Run.new unless @run.opened?(settings)
        @run.phase = "start"
        next unless still_ours?(::Chef::Config)

        choose_again(settings)
        begin_report(settings, run_status) if @choice
      end
    end

    # The handler of run_completed and run_failed. A reboot comes as a failure after the success: only the first counts.
    def run_end(event, error = nil, node = nil, *)
      guarded do
        next unless @report

        report(Settings.load(@path), event, error, node && Used.of(node))
        @report = nil
      end
    end

    private

    def guarded
      yield
    rescue NoServer
      nil
    rescue StandardError, ScriptError => e # ScriptError: a library that is not there
      text = e.is_a?(Unusable) ? e.message : "#{e.class}: #{e.message}"
      @run.say("#{text}; chef_server_url is unchanged")
    end

    # Whether our handler will be called.
    def register
      return false unless defined?(::Chef.event_handler)

      @handler = make_handler unless registered?
      true
    rescue StandardError => e # then the first answer is the last
      @run.say("no event handler: #{e.class}: #{e.message}")
      false
    end

    # The marker is the handler itself in Chef's own list, which outlives this file but not a list somebody replaced.
    def registered?
      @handler && Array(::Chef::Config[:event_handlers]).include?(@handler)
    end

    def make_handler
      made = nil
      reached = ->(phase) { @run.phase = phase }
      ::Chef.event_handler do
        made = handler
        on(:run_start) { |*args| ::ChefFailover.run_start(*args) }
        on(:run_completed) { |*args| ::ChefFailover.run_end("succeeded", nil, args.first) }
        on(:run_failed) { |*args| ::ChefFailover.run_end("failed", args.first) }
        Run::PHASES.each { |event, phase| on(event) { |*_| reached.call(phase) } }
      end
      made
    end

    # Sets what the first layer with an answer says.
    def choose(config, settings, is_final:)
      return if settings.servers.empty?

      @choice = @client_config.set(config, Layers.choice(settings, @run, is_final), @run, is_final: is_final) || @choice
    end

    def choose_again(settings)
      choose(::Chef::Config, settings, is_final: true)
    rescue NoServer, Unusable => e
      ChefFailover.log(:info, "no new choice (#{e.message}); still using #{::Chef::Config[:chef_server_url]}")
    end

    # The URL is what was set here last or, if nothing could be, what was found. Another is somebody's decision.
    def still_ours?(config)
      return true if config[:chef_server_url] == (@choice ? @choice.url : @found)

      @run.say("chef_server_url was set to #{config[:chef_server_url]} elsewhere; the shim keeps it")
      @client_config.set_ca_file(config, nil, @run)
      false
    end

    def begin_report(settings, run_status)
      run_id = run_status.run_id if run_status.respond_to?(:run_id)
      @report = { schema: Document::SCHEMA, run_id: run_id || SecureRandom.uuid, server: @choice.server,
                  chef_server_url: @choice.url }
      report(settings, "started")
    end

    # A sidecar that does not take what a cookbook is called here takes the rest.
    def report(settings, event, error = nil, used = nil)
      body = @report.merge(event: event, **@run.failure(error), **(used ? { used: used } : {}))
      status, = @run.ask(settings, REPORT_BUDGET_S, "POST", "/v1/runs", JSON.generate(body))
      report(settings, event, error) if used && status == 400
    rescue Unusable => e
      ChefFailover.log(:debug, "the sidecar rejected the report that the run #{event}: #{e.message}")
    end
  end
end
