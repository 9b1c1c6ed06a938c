# frozen_string_literal: true

require_relative "spec_helper"

RSpec.describe "A chef-client run" do
  let(:run_status) { Struct.new(:run_id).new("5b3f0f4e-8a53-4d57-9d5c-0e1f0f7f3b11") }
  let(:application) { FakeApplication.new(dir) }

  # client.d as it is shipped, with its two paths replaced the way an installation elsewhere does it.
  def install(client_rb = "", shim = SHIM)
    File.write(path("client.rb"), client_rb)
    FileUtils.mkdir_p(path("client.d"))
    text = File.read(CLIENT_D).sub('"/usr/share/chef-failover/ruby/chef_failover.rb"', shim.inspect)
               .sub('"/etc/chef-failover/config.yml"', path("config.yml").inspect)
    File.write(path("client.d/chef_failover.rb"), text)
  end

  before do
    install
    sidecar_answers
  end

  describe "client.d" do
    it "sets the server, and beats client.rb" do
      install("chef_server_url '#{ELSEWHERE}'\nnode_name 'x'")
      application.configure
      expect([chosen, config[:node_name]]).to eq [STANDBY, "web-1"]
    end

    it "is harmless when the package is gone" do
      install("chef_server_url '#{ELSEWHERE}'")
      File.write(path("client.d/chef_failover.rb"), File.read(CLIENT_D).gsub("/usr/share", path("gone")))
      hide_const("ChefFailover")
      expect { application.configure }.not_to raise_error
      expect(chosen).to eq ELSEWHERE
    end

    Dir.children(SHIM.delete_suffix(".rb")).each do |part|
      [["without", File.method(:delete)], ["with half of", ->(file) { File.truncate(file, 150) }]].each do |how, spoil|
        it "is harmless when the package is half removed: #{how} #{part}" do
          FileUtils.cp_r(File.dirname(SHIM), path("lib"))
          spoil.call(path("lib/chef_failover/#{part}"))
          install("chef_server_url '#{ELSEWHERE}'", path("lib/chef_failover.rb"))
          stub_const("ChefFailover", Module.new)
          expect { 2.times { application.configure } }.not_to raise_error
          expect([chosen, config[:event_handlers], sidecar.requests.size]).to eq [ELSEWHERE, [], 0]
          expect(warnings).to match [a_string_including("the shim is incomplete: ").and(include("chef_server_url is unchanged"))]
        end
      end
    end

    it "registers one handler however often it is read, and though the file is loaded again" do
      3.times { application.configure }
      saved = $VERBOSE
      $VERBOSE = nil # its constants are defined again
      load SHIM
      $VERBOSE = saved
      application.configure
      expect(config[:event_handlers].size).to eq 1
      dispatch(:run_start, "18.11.21", run_status)
      expect(sidecar.runs.size).to eq 1
    end

    it "registers again when client.rb replaces the list of handlers" do
      install("event_handlers []")
      2.times { application.configure }
      expect(config[:event_handlers].size).to eq 1
    end

    it "asks without waiting, and says nothing yet, since run_start will ask again" do
      application.configure
      expect([sidecar.asked, chosen]).to eq [["GET /v1/server?wait=no&max_age=0 HTTP/1.0"], STANDBY]
      expect(FakeChef::Log.lines.map(&:first).uniq).to eq [:debug]
    end

    it "waits for the answer where there are no events, since it is the only one", :without_chef do
      expect { application.configure }.to output.to_stderr
      expect(sidecar.asked).to match [%r{\AGET /v1/server\?max_age=0\.\d+ HTTP/1\.0\z}]
    end

    it "has nothing probed when a daemon reads it again, since the next run is far away" do
      2.times { application.configure }
      expect(sidecar.asked.last).to eq "GET /v1/server?wait=no HTTP/1.0"
    end

    it "registers a handler whatever goes wrong, so that a daemon gets its server once that is mended" do
      File.write(accepted, "{")
      application.configure
      dispatch(:run_start, "18", run_status)
      expect([chosen, warnings.size]).to eq ["https://localhost:443", 1]
      write_accepted
      dispatch(:run_start, "18", run_status)
      expect(chosen).to eq STANDBY
      expect(sidecar.runs.map { |run| run.values_at("event", "server") }).to eq [%w[started standbyserver]]
    end

    it "chooses again after a file that was broken when a daemon read it again" do
      install("chef_server_url '#{MAIN}'")
      application.configure
      expect(chosen).to eq STANDBY
      File.write(accepted, "{")
      application.configure
      expect(chosen).to eq MAIN
      write_accepted
      dispatch(:run_start, "18", run_status)
      expect(chosen).to eq STANDBY
    end

    it "gets its server once the sidecar has heard of one" do
      sidecar.answer("/v1/server", 404, contract("no_servers.json"))
      application.configure
      dispatch(:run_start, "18", run_status)
      expect([chosen, sidecar.runs]).to eq ["https://localhost:443", []]
      sidecar_answers
      dispatch(:run_start, "18", run_status)
      expect(chosen).to eq STANDBY
    end

    it "leaves what a later file sets, though nothing could be chosen here" do
      File.write(accepted, "{")
      application.configure
      write_accepted
      config[:chef_server_url] = ELSEWHERE
      dispatch(:run_start, "18", run_status)
      expect([chosen, sidecar.runs]).to eq [ELSEWHERE, []]
    end

    it "waits for the answer where no handler can be made, and says so" do
      allow(FakeChef).to receive(:event_handler).and_raise(NameError, "x")
      application.configure
      expect([sidecar.asked.first, chosen]).to match [start_with("GET /v1/server?max_age=0."), STANDBY]
      expect(warnings.first).to include("no event handler: NameError")
    end

    it "works with a Chef that is strict and does not know every setting" do
      install("config_strict_mode true\nchef_server_url '#{ELSEWHERE}'")
      application.configure
      expect([chosen, config[:node_name]]).to eq [STANDBY, "web-1"]
    end

    it "has no handler without Chef", :without_chef do
      expect { application.configure }.to output(/Server not reachable: mainserver/).to_stderr
      expect([chosen, config[:event_handlers]]).to eq [STANDBY, []]
    end
  end

  describe "run_start" do
    before { application.configure }

    def max_age
      sidecar.asked.first[%r{\AGET /v1/server\?max_age=([\d.]+) HTTP/1\.0\z}, 1].to_f
    end

    it "waits for results that are no older than the reading of client.d just before" do
      sidecar.asked
      sleep 0.05
      dispatch(:run_start, "18.11.21", run_status)
      expect(max_age).to be_between(0.05, 2)
    end

    it "waits for results of its own time in every later run" do
      dispatch(:run_start, "18.11.21", run_status)
      application.configure # a daemon, after a run that succeeded
      sidecar.asked
      dispatch(:run_start, "18.11.21", run_status)
      expect(max_age).to eq 0
    end

    it "relies on no reading of client.d that is long ago" do
      sidecar.asked
      allow(ChefFailover).to receive(:now).and_return(ChefFailover.send(:now) + 60)
      dispatch(:run_start, "18.11.21", run_status)
      expect(max_age).to eq 0
    end

    it "relies on it in a forked process, too, as Chef 14 and a daemon's first run are" do
      sidecar.asked
      sleep 0.05
      child = fork do
        dispatch(:run_start, "18.11.21", run_status)
        exit!(0)
      end
      Process.wait(child)
      expect(max_age).to be_between(0.05, 2)
    end

    it "warns of what the run there will, or may, not do" do
      sidecar_answers("warnings" => ["standbyserver has no object of this node, so the run will do nothing"])
      FakeChef::Log.lines.clear
      dispatch(:run_start, "18.11.21", run_status)
      expect(warnings).to include("chef-failover: standbyserver has no object of this node, so the run will do nothing")
    end

    it "chooses anew with both arguments" do
      sidecar_answers("name" => "mainserver", "chef_server_url" => MAIN, "passed_over" => [])
      dispatch(:run_start, "18.11.21", run_status)
      expect(chosen).to eq MAIN
      expect(sidecar.runs.map { |run| run.values_at("event", "server", "run_id") })
        .to eq [["started", "mainserver", run_status.run_id]]
    end

    it "chooses anew with the one of Chef 14, and gives the run an id of its own" do
      sidecar_answers("name" => "mainserver", "chef_server_url" => MAIN, "passed_over" => [])
      dispatch(:run_start, "14.15.6")
      dispatch(:run_completed, Object.new)
      ids = sidecar.runs.map { |run| run["run_id"] }
      expect(chosen).to eq MAIN
      expect(ids.uniq).to match [/\A\h{8}-(\h{4}-){3}\h{12}\z/]
      expect(ids.size).to eq 2
    end

    it "uses the next layers when the sidecar has gone" do
      @sidecar.stop
      File.delete(path("sidecar.sock"))
      @sidecar = nil
      expect(quickest { dispatch(:run_start, "18", run_status) }).to be < 0.05
      expect(chosen).to eq MAIN
    end

    it "leaves the URL when there is nothing better" do
      File.write(accepted, "{")
      expect { dispatch(:run_start, "18", run_status) }.not_to raise_error
      expect(chosen).to eq STANDBY
    end

    it "leaves the URL when there is no server any more" do
      sidecar.answer("/v1/server", 404, contract("no_servers.json"))
      dispatch(:run_start, "18", run_status)
      expect(chosen).to eq STANDBY
      write_accepted("servers" => [])
      dispatch(:run_start, "18", run_status)
      expect(chosen).to eq STANDBY
    end

    it "leaves somebody else's URL, says so, takes back the CA file and reports nothing" do
      config[:chef_server_url] = ELSEWHERE
      sidecar.runs
      dispatch(:run_start, "18", run_status)
      dispatch(:run_completed, Object.new, run_status)
      expect([chosen, config[:ssl_ca_file], sidecar.runs]).to eq [ELSEWHERE, nil, []]
      expect(warnings.last).to include("chef_server_url was set to #{ELSEWHERE} elsewhere; the shim keeps it")
    end

    it "does nothing when a local server has come in between" do
      config[:chef_server_url] = "chefzero://localhost:1"
      dispatch(:run_start, "18", run_status)
      expect(chosen).to eq "chefzero://localhost:1"
    end
  end

  describe "the reports" do
    before do
      application.configure
      sidecar.runs
      dispatch(:run_start, "18", run_status)
    end

    it "are those of the contract: started, succeeded" do
      dispatch(:run_completed, FakeNode.new, run_status)
      expect(sidecar.runs).to eq [contract("run_started.json"), contract("run_succeeded.json")]
    end

    it "are those of the contract: started, failed" do
      dispatch(:run_failed, Errno::ECONNREFUSED.new, run_status)
      expect(sidecar.runs).to eq [contract("run_started.json"), contract("run_failed.json")]
    end

    it "tell how far a failed run has come, and what the server answered" do
      refusal = Net::HTTPFatalError.new("500", Net::HTTPInternalServerError.new("1.1", "500", "x"))
      dispatch(:cookbook_sync_complete)
      dispatch(:run_failed, refusal, run_status)
      dispatch(:run_start, "18", run_status)
      dispatch(:run_failed, Errno::ECONNRESET.new, run_status)
      dispatch(:run_start, "18", run_status)
      %i[cookbook_sync_complete converge_start converge_complete].each { |event| dispatch(event, nil) }
      dispatch(:run_failed, refusal, run_status)
      ends = sidecar.runs.select { |run| run["event"] == "failed" }
      expect(ends.map { |run| run.values_at("phase", "http_status") })
        .to eq [["converge", 500], ["start", nil], ["save", 500]]
    end

    it "are sent as JSON with a length, which needs no proxy" do
      _, body, head = sidecar.requests.size.times.map { sidecar.requests.pop }.find { |line, _| line.start_with?("POST") }
      expect(head).to match(%r{^Content-Type: application/json\r$}).and include("Content-Length: #{body.bytesize}\r")
    end

    it "end with the first end: a reboot comes as a failure after the success" do
      dispatch(:run_completed, Object.new, run_status)
      dispatch(:run_failed, RuntimeError.new("Chef::Exceptions::Reboot"), run_status)
      expect(sidecar.runs.map { |run| run["event"] }).to eq %w[started succeeded]
    end

    it "name the server that the run started with" do
      config[:chef_server_url] = ELSEWHERE
      dispatch(:run_failed, SystemExit.new, run_status)
      expect(sidecar.runs.last).to include("chef_server_url" => STANDBY, "error_class" => "SystemExit")
    end

    it "cost little and change nothing when nobody takes them" do
      @sidecar.stop
      File.delete(path("sidecar.sock"))
      @sidecar = FakeSidecar.new(path("sidecar.sock")) { |_| sleep }
      expect(seconds { dispatch(:run_failed, RuntimeError.new("x"), run_status) }).to be < 1
      expect(warnings.join).not_to include("report")
    end
  end

  describe "the command line" do
    [%w[-S URL], %w[-SURL], %w[-WS URL], %w[--server URL], %w[--server=URL], %w[--serv URL], %w[--SERVER URL],
     %w[-i 60 -S URL], %w[--config-option chef_server_url=URL], %w[--config-option=chef_server_url=URL],
     ["--config-option", "chef_server_url = URL"], %w[--config-opt=chef_server_url=URL]].each do |words|
      it "wins: #{words.join(' ')}" do
        argv(*words)
        application.configure(chef_server_url: ELSEWHERE)
        sidecar.runs
        FakeChef::Log.lines.clear
        dispatch(:run_start, "18", run_status)
        expect([chosen, config[:ssl_ca_file], config[:node_name]]).to eq [ELSEWHERE, nil, "web-1"]
        expect([sidecar.runs, warnings]).to eq [[], []]
      end
    end

    it "wins with the same URL that was chosen" do
      argv("-S", STANDBY)
      application.configure(chef_server_url: STANDBY)
      sidecar_answers("chef_server_url" => MAIN)
      dispatch(:run_start, "18", run_status)
      expect(chosen).to eq STANDBY
    end

    [%w[-N me], %w[-Nme], %w[--node-name me], %w[--node_name=me], %w[--nod me]].each do |words|
      it "wins: #{words.join(' ')}" do
        argv(*words)
        application.configure(node_name: "me")
        expect([chosen, config[:node_name]]).to eq [STANDBY, "me"]
      end
    end

    it "wins over the name without a word" do
      argv("-N", "me")
      install("node_name 'you'")
      application.configure(node_name: "me")
      dispatch(:run_start, "18", run_status)
      expect(warnings.join).not_to include("node_name")
    end

    [%w[-k /k], %w[-k/k], %w[--client_key /k], %w[--client-key=/k], %w[--cl /k]].each do |words|
      it "wins: #{words.join(' ')}" do
        argv(*words)
        application.configure(client_key: "/k")
        expect([chosen, config[:client_key]]).to eq [STANDBY, "/k"]
      end
    end

    [%w[-s 30], %w[-n list], %w[-K /v.pem], %w[--splay 3], %w[-c /etc/chef/client.rb], %w[--config /x], %w[-- -S],
     %w[-j http://x/-S], %w[--slow-report], ["-o", "recipe[\xFC]"]].each do |words|
      it "says nothing about the server: #{words.join(' ')}" do
        argv(*words)
        application.configure
        expect([chosen, config[:node_name], config[:client_key]]).to eq [STANDBY, "web-1", "/var/lib/chef-failover/client.pem"]
      end
    end
  end

  describe "where it stays out" do
    after do
      expect(sidecar.requests.size).to eq 0
      expect(config[:event_handlers]).to be_empty
    end

    { local_mode: true, solo: true, solo_legacy_mode: true, chef_server_url: "chefzero://localhost:8889" }.each do |key, value|
      it "#{key} #{value}" do
        application.configure(key => value)
        expect(config[:node_name]).to be_nil
      end
    end

    it "local_mode without a local server" do
      install("chef_zero.enabled false")
      application.configure(local_mode: true)
      expect(config[:node_name]).to be_nil
    end

    [%w[-z], %w[-zr recipe[x]], %w[-Wz], %w[--local-mode], %w[--local_mode], %w[--config-option local_mode=true]].each do |words|
      it "local mode that client.d cannot see yet, since client.rb loads it itself: #{words.join(' ')}" do
        argv(*words)
        install
        File.write(path("client.rb"), "from_file '#{path('client.d/chef_failover.rb')}'\nnode_name 'mine'\n")
        application.configure(local_mode: true)
        expect([chosen, config[:node_name], config[:client_key]]).to eq ["https://localhost:443", "mine", nil]
      end
    end

    it "chef-solo whose solo.rb loads client.d" do
      stub_const("Chef::Application::Solo", Class.new)
      application.configure
      expect(chosen).to eq "https://localhost:443"
    end

    it "chef_zero.enabled" do
      install("chef_zero.enabled true")
      application.configure
      expect(chosen).to eq "https://localhost:443"
    end

    it "knife" do
      stub_const("Chef::Application::Knife", Class.new)
      application.configure
      expect(chosen).to eq "https://localhost:443"
    end
  end

  it "leaves the name and key of another device alone in target mode" do
    application.configure(target: "ssh://switch.example.com")
    expect([chosen, config[:node_name]]).to eq [STANDBY, nil]
    expect(config[:client_key]).not_to include("chef-failover")
  end

  context "when Chef 19 or later runs in target mode" do
    before { %i[api_client_name api_client_key].each { |name| config.default(name, nil) } }

    after do
      %i[api_client_name api_client_key].each do |name|
        config.configurables.delete(name)
        config.singleton_class.send(:undef_method, name)
      end
    end

    it "gives the API client its name and key, before Chef takes them from node_name and client_key" do
      write_accepted("client_key" => "/etc/cf/client.pem")
      sidecar_answers("client_key" => "/etc/cf/client.pem")
      application.configure(target: "ssh://switch.example.com")
      expect([config[:api_client_name], config[:api_client_key]]).to eq ["web-1", "/etc/cf/client.pem"]
      expect(config[:node_name]).to be_nil
    end

    it "leaves what somebody has set" do
      install("api_client_name 'alice'\napi_client_key '/alice.pem'")
      application.configure(target: "ssh://switch.example.com")
      expect([config[:api_client_name], config[:api_client_key]]).to eq ["alice", "/alice.pem"]
    end
  end

  context "when the sidecar hangs" do
    before do
      write_accepted("budget_s" => 1)
      write_state
      @sidecar.stop
      FileUtils.rm_f(path("sidecar.sock"))
      @sidecar = FakeSidecar.new(path("sidecar.sock")) { |_| sleep }
    end

    # One run, from the reading of its files.
    def start
      application.configure
      dispatch(:run_start, "18", run_status)
    end

    it "is waited for once in a run, and warned of once" do
      expect(seconds { start }).to be < 1.9 # 1 s, and what is left for run_start and its report
      expect(warnings.grep(/no usable answer/).size).to eq 1
      expect(warnings.grep(/the last choice in/).size).to eq 1
    end

    it "is warned of once when it is gone, too" do
      @sidecar.stop
      start
      expect(warnings.grep(/no usable answer/).size).to eq 1
    end

    it "is warned of again, and has its time again, in a daemon's next run" do
      start
      FakeChef::Log.lines.clear
      allow(ChefFailover).to(receive(:now).and_wrap_original { |now| now.call + 60 })
      expect(seconds { dispatch(:run_start, "18", run_status) }).to be > 0.95
      expect(warnings.grep(/no usable answer/).size).to eq 1
    end
  end

  describe "a node_name in client.rb" do
    before { install("node_name 'web-9'") }

    it "that is another gives way, with one warning in a run" do
      application.configure
      expect(warnings).to be_empty
      2.times { dispatch(:run_start, "18", run_status) }
      expect(config[:node_name]).to eq "web-1"
      expect(warnings.grep(/node_name/)).to eq ["chef-failover: node_name web-1 of config.yml replaces web-9 of client.rb"]
    end

    it "that is the same is no news" do
      install("node_name 'web-1'")
      application.configure
      dispatch(:run_start, "18", run_status)
      expect(warnings.grep(/node_name/)).to be_empty
    end

    it "stays where none was accepted" do
      write_accepted("node_name" => nil)
      application.configure
      dispatch(:run_start, "18", run_status)
      expect([config[:node_name], warnings.grep(/replaces/)]).to eq ["web-9", []]
    end
  end

  describe "ssl_ca_file" do
    def next_choice(ca_file)
      sidecar_answers("ssl_ca_file" => ca_file)
      apply
      config[:ssl_ca_file]
    end

    let(:ours) { path("chef-b.pem") }
    let(:own) { path("own.pem") }

    before do
      File.write(ours, "OURS")
      config[:file_cache_path] = path("cache")
      write_accepted("servers" => [contract("accepted.json")["servers"][1].merge("ssl_ca_file" => ours)])
    end

    it "is set with one choice, and what was there before comes back with a choice that has none" do
      config[:ssl_ca_file] = "/own.pem"
      expect([next_choice(ours), next_choice(ours), next_choice(nil), next_choice(nil), next_choice(ours), next_choice(nil)])
        .to eq [ours, ours, "/own.pem", "/own.pem", ours, "/own.pem"]
    end

    it "goes back to nothing" do
      expect([next_choice(nil), next_choice(ours), next_choice(nil)]).to eq [nil, ours, nil]
    end

    it "goes back to what somebody set in between" do
      next_choice(ours)
      config[:ssl_ca_file] = "/new.pem"
      expect([next_choice(nil), next_choice(ours), next_choice(nil)]).to eq ["/new.pem", ours, "/new.pem"]
    end

    it "is left alone when there is no such file, over which Chef would end" do
      File.delete(ours)
      config[:ssl_ca_file] = "/own.pem"
      expect([next_choice(ours), chosen]).to eq ["/own.pem", STANDBY]
      expect(warnings).to match [a_string_including("ssl_ca_file #{ours} ignored: No such file")]
    end

    it "stands beside what client.rb trusts, and goes again" do
      File.write(own, "INTERNAL")
      config[:ssl_ca_file] = own
      expect(File.read(next_choice(ours))).to eq "INTERNAL\nOURS\n"
      expect(File.dirname(config[:ssl_ca_file])).to eq path("cache")
      expect(File.read(next_choice(ours))).to eq "INTERNAL\nOURS\n"
      expect([next_choice(nil), config[:ssl_ca_file]]).to eq [own, own]
    end

    it "stands beside what a daemon finds in client.rb when it is read again" do
      %w[FORMER LATER].each do |text|
        File.write(own, text)
        config[:ssl_ca_file] = own
        expect(File.read(next_choice(ours))).to eq "#{text}\nOURS\n"
      end
    end

    it "is used as it is where client.rb names the same" do
      config[:ssl_ca_file] = ours
      expect([next_choice(ours), next_choice(nil)]).to eq [ours, ours]
    end

    it "stands beside the directory that client.rb trusts, which Chef takes in the place of a file" do
      FileUtils.mkdir_p(path("ca"))
      { "0a1b2c3d.0" => "ONE", "0a1b2c3d.1" => "TWO", "notes.txt" => "x" }.each do |name, text|
        File.write(path("ca/#{name}"), text)
      end
      config[:ssl_ca_path] = path("ca")
      expect(File.read(next_choice(ours))).to eq "ONE\nTWO\nOURS\n"
      expect(config[:ssl_ca_path]).to be_nil
      expect([next_choice(nil), config[:ssl_ca_path]]).to eq [nil, path("ca")]
    end

    it "gives way to what client.rb trusts when the two cannot be put together, and says so" do
      File.write(own, "INTERNAL")
      File.write(path("cache"), "a file")
      config[:ssl_ca_file] = own
      expect([next_choice(ours), chosen]).to eq [own, STANDBY]
      expect(warnings.last).to include("ssl_ca_file #{ours} ignored: ")
    end

    it "does not take the name or the key back" do
      apply
      sidecar_answers("node_name" => nil, "client_key" => nil)
      apply
      expect([config[:node_name], config[:client_key]]).to eq %w[web-1 /var/lib/chef-failover/client.pem]
    end
  end

  describe "a daemon that forks" do
    # What a forked run sees of the configuration, as chef-client's child does it.
    def run_in_child(error = nil)
      reader, writer = IO.pipe
      child = fork do
        dispatch(:run_start, "18", Struct.new(:run_id).new(nil))
        writer.write(JSON.generate([config[:chef_server_url], config[:ssl_ca_file]]))
        error ? dispatch(:run_failed, error, nil) : dispatch(:run_completed, nil, nil)
        writer.close
        exit!(0)
      end
      writer.close
      Process.wait(child)
      JSON.parse(reader.read)
    end

    it "uses another server in the run after a failed one, without reading its files again" do
      sidecar_answers("name" => "mainserver", "chef_server_url" => MAIN, "ssl_ca_file" => nil, "passed_over" => [])
      application.configure
      expect(run_in_child(Errno::ECONNREFUSED.new)).to eq [MAIN, nil]
      sidecar_answers
      expect(run_in_child).to eq [STANDBY, "/etc/chef/trusted_certs/chef-b.pem"]
      expect(chosen).to eq MAIN # the parent's
      sidecar_answers("name" => "mainserver", "chef_server_url" => MAIN, "ssl_ca_file" => nil, "passed_over" => [])
      expect(run_in_child).to eq [MAIN, nil]
      runs = sidecar.runs
      expect(runs.map { |run| run.values_at("event", "server") })
        .to eq [%w[started mainserver], %w[failed mainserver], %w[started standbyserver], %w[succeeded standbyserver],
                %w[started mainserver], %w[succeeded mainserver]]
      expect(runs.map { |run| run["run_id"] }.uniq.size).to eq 3
    end
  end

  describe "what is never swallowed or raised" do
    # Runs the block in a child that is sent TERM while the sidecar keeps silent; chef-client turns TERM into SystemExit.
    def terminated_while
      @sidecar.stop
      File.delete(path("sidecar.sock"))
      asked = Queue.new
      @sidecar = FakeSidecar.new(path("sidecar.sock")) { |_| asked.push(true) && sleep }
      child = fork do
        trap("TERM") { exit(7) }
        yield
        exit!(0)
      rescue SystemExit => e
        exit!(e.status) # past the hooks of RSpec
      end
      asked.pop
      Process.kill("TERM", child)
      Process.wait2(child).last.exitstatus
    end

    it "TERM ends chef-client while client.d waits" do
      expect(terminated_while { apply }).to eq 7
    end

    it "TERM ends chef-client while run_start waits" do
      application.configure
      expect(terminated_while { dispatch(:run_start, "18") }).to eq 7
    end

    [RuntimeError, LoadError, NotImplementedError, SyntaxError].each do |error|
      it "#{error} does not leave apply or a handler" do
        application.configure
        allow(ChefFailover::Settings).to receive(:load).and_raise(error, "x")
        expect { apply }.not_to raise_error
        expect { dispatch(:run_start, "18", run_status) }.not_to raise_error
        expect { dispatch(:run_completed, Object.new) }.not_to raise_error
        expect(chosen).to eq STANDBY
      end
    end

    it "survives a log that cannot be written" do
      allow(FakeChef::Log).to receive(:warn).and_raise(Errno::ENOSPC)
      application.configure
      expect(chosen).to eq STANDBY
    end
  end
end
