# frozen_string_literal: true

require_relative "spec_helper"

RSpec.describe "The three layers" do
  context "when the sidecar answers" do
    before { sidecar_answers }

    it "sets what the contract's answer has" do
      apply
      expect(config[:chef_server_url]).to eq STANDBY
      expect(config[:node_name]).to eq "web-1"
      expect(config[:ssl_ca_file]).to eq "/etc/chef/trusted_certs/chef-b.pem"
    end

    it "says which server was passed over, why, and which is used" do
      start_run
      expect(warnings).to include(a_string_including("Server not reachable: mainserver: connect timed out after 3.0 s"),
                                  a_string_including("using standbyserver #{STANDBY}"))
    end

    it "does not call a server unreachable that is only passed over" do
      sidecar_answers("passed_over" => [{ "name" => "mainserver", "reason" => "drained", "reachable" => true }])
      start_run
      expect(warnings.first).to end_with("Server passed over: mainserver: drained")
    end

    it "takes the next layer whatever the answer does to the code" do
      allow_any_instance_of(ChefFailover::Settings).to receive(:vouch_for).and_raise(NoMethodError)
      apply
      expect(chosen).to eq MAIN
    end

    it "is no warning when all is fine" do
      sidecar_answers("passed_over" => [], "reason" => "preferred", "chef_server_url" => MAIN, "name" => "mainserver")
      start_run
      expect(warnings).to be_empty
      expect(FakeChef::Log.lines).to include([:info, a_string_including("using mainserver #{MAIN}")])
    end

    it "says that an answer is degraded" do
      sidecar_answers("passed_over" => [], "degraded" => true)
      start_run
      expect(warnings.last).to include("degraded")
    end

    it "takes the files as the sidecar's Python writes their paths" do
      write_config("node" => { "client_key" => "/etc//chef/./././client.pem" },
                   "servers" => [{ "name" => "a", "url" => STANDBY, "ca_file" => "/etc/chef//trusted_certs/./chef-b.pem" }])
      sidecar_answers("client_key" => "/etc/chef/client.pem")
      apply
      expect([config[:client_key], config[:ssl_ca_file]]).to eq %w[/etc/chef/client.pem /etc/chef/trusted_certs/chef-b.pem]
    end

    it "takes the client key only if config.yml names it, or the default one" do
      apply
      expect(config[:client_key]).to eq "/var/lib/chef-failover/client.pem"
      write_config("node" => { "name" => "web-1" })
      sidecar_answers("client_key" => path("client.pem"))
      apply
      expect(config[:client_key]).to eq path("client.pem")
    end

    it "asks no proxy of the environment" do
      stub_const("ENV", ENV.to_h.merge("http_proxy" => "http://127.0.0.1:1", "all_proxy" => "http://127.0.0.1:1"))
      apply
      expect(chosen).to eq STANDBY
      expect(sidecar.asked).to eq ["GET /v1/server?wait=no&max_age=0 HTTP/1.0"]
    end

    it "reads a body that comes without a length" do
      @sidecar.stop
      File.delete(path("sidecar.sock"))
      @sidecar = FakeSidecar.new(path("sidecar.sock")) do |peer|
        peer.readpartial(4096)
        peer.write("HTTP/1.1 200 OK\r\n\r\n#{JSON.generate(contract('server.json'))}")
      end
      apply
      expect(chosen).to eq STANDBY
    end

    it "cleans what it logs" do
      sidecar_answers("passed_over" => [{ "name" => "a\nFATAL: b", "reason" => "\e[31m\u202e\u2028é→#{'x' * 9000}" }])
      start_run
      expect(warnings.join).not_to match(/[\n\e\u202e\u2028]/)
      expect(warnings.join).to include("?[31m??é→x")
      expect(warnings.map(&:length).max).to be < 600
    end

    it "names only so many servers that were passed over" do
      sidecar_answers("passed_over" => Array.new(10_000) { |number| { "name" => "x#{number}" } })
      start_run
      expect(warnings.size).to eq 21
    end

    it "resolves in a few milliseconds" do
      expect(quickest { apply }).to be < 0.01 # the bench looks at the slow ones
    end
  end

  context "when no server is configured" do
    it "touches nothing and says nothing, as the sidecar answers 404" do
      sidecar.answer("/v1/server", 404, contract("no_servers.json"))
      config[:chef_server_url] = ELSEWHERE
      expect { apply }.not_to output.to_stderr
      expect(chosen).to eq ELSEWHERE
      expect(FakeChef::Log.lines).to be_empty
    end

    [[], nil].each do |servers|
      it "touches nothing and says nothing with servers: #{servers.inspect}, and does not even ask" do
        write_config("servers" => servers)
        sidecar_answers
        config[:chef_server_url] = ELSEWHERE
        apply
        expect([chosen, FakeChef::Log.lines, sidecar.requests.size]).to eq [ELSEWHERE, [], 0]
      end
    end

    it "touches nothing with an empty config.yml" do
      File.write(path("config.yml"), "")
      config[:chef_server_url] = ELSEWHERE
      apply
      expect([chosen, FakeChef::Log.lines]).to eq [ELSEWHERE, []]
    end
  end

  context "when config.yml is of no use" do
    {
      "missing" => nil, "not YAML" => "servers: [\n", "a list" => "- a\n", "a word" => "hello\n",
      "with an object in it" => "--- !ruby/object:Object {}\n", "bytes" => "\xff\xfe\x00: ["
    }.each do |kind, text|
      it "touches nothing and warns: #{kind}" do
        text ? File.binwrite(path("config.yml"), text) : File.delete(path("config.yml"))
        config[:chef_server_url] = ELSEWHERE
        expect { apply }.not_to raise_error
        expect(chosen).to eq ELSEWHERE
        expect(warnings).to include(a_string_including("stays as it is"))
      end
    end

    it "warns when no server in it has a usable url" do
      write_config("servers" => [{ "name" => "a", "url" => "chef.example.com" }, { "name" => "b" }, "c"])
      config[:chef_server_url] = ELSEWHERE
      apply
      expect([chosen, warnings.last]).to match [ELSEWHERE, a_string_including("no server in config.yml has a usable url")]
    end

    it "can live with dates, symbols, aliases and sections of a wrong type" do
      text = File.read(path("config.yml"))
      text += "\nwhen: 2026-11-22\nat: 2026-11-22T10:00:00Z\ns: :x\na: &a {b: c}\nd: *a\nselection: 7\n"
      File.write(path("config.yml"), text)
      apply
      expect(chosen).to eq MAIN
      write_config("health" => "soon", "listen" => [], "trusted_hosts" => 5, "node" => nil, "state_dir" => 5)
      apply
      expect(chosen).to eq MAIN
    end

    it "reads it with Psych 3.0 as well, which takes the kinds by position" do
      old = Module.new do
        def self.safe_load(yaml, kinds = [], symbols = [], aliases = nil)
          YAML_NOW.safe_load(yaml, permitted_classes: kinds, permitted_symbols: symbols, aliases: aliases)
        end
      end
      stub_const("YAML_NOW", YAML)
      stub_const("YAML", old)
      ChefFailover.apply(config, path("config.yml"))
      expect(chosen).to eq MAIN
    end
  end

  context "when the sidecar is gone" do
    it "uses the choice of state.json, and says so" do
      write_state
      apply
      expect(chosen).to eq STANDBY
      expect(config[:ssl_ca_file]).to eq "/etc/chef/trusted_certs/chef-b.pem"
      expect(warnings).to match [a_string_including("no usable answer from the sidecar at #{path('sidecar.sock')}: No such file"),
                                 a_string_including("using standbyserver #{STANDBY}, the last choice in #{path('state.json')}")]
    end

    it "uses the first server of config.yml when there is no state.json, and says so" do
      apply
      expect(chosen).to eq MAIN
      expect(warnings.last).to include("using mainserver #{MAIN}, the first server of config.yml")
    end

    newer = ->(state) { JSON.generate(state.merge("schema" => 2)) }
    {
      "truncated" => ->(state) { JSON.generate(state)[0, 200] },
      "empty" => ->(_) { "" },
      "of a newer schema" => newer,
      "of no schema" => ->(state) { JSON.generate(state.reject { |key, _| key == "schema" }) },
      "without a choice" => ->(state) { JSON.generate(state.merge("choice" => nil)) },
      "a list" => ->(_) { "[]" },
      "bytes" => ->(_) { "\x00\xff".b * 2000 },
      "nested deeply" => ->(_) { "[" * 100_000 },
      "huge" => ->(state) { JSON.generate(state) + (" " * (1 << 20)) }
    }.each do |kind, spoil|
      it "still has a URL within 50 ms when state.json is #{kind}" do
        write_state(spoil.call(contract("state.json")))
        expect(quickest { apply }).to be < 0.05
        expect(chosen).to eq MAIN
        expect(warnings).to include(a_string_including("no usable choice in #{path('state.json')}"))
      end
    end

    it "takes a choice from the future: no clock has a say" do
      write_state(contract("state.json").merge("written_at" => "2099-01-01T00:00:00Z"))
      apply
      expect(chosen).to eq STANDBY
    end

    it "is neither stopped by a pipe nor led away by a link in the place of state.json" do
      File.mkfifo(path("state.json"))
      expect(seconds { apply }).to be < 1
      File.open(path("state.json"), File::RDWR | File::NONBLOCK) { expect(seconds { apply }).to be < 1 }
      File.delete(path("state.json"))
      write_state
      File.rename(path("state.json"), path("elsewhere.json"))
      File.symlink(path("elsewhere.json"), path("state.json"))
      apply
      expect(chosen).to eq MAIN
    end

    it "quotes nothing of a file that is not JSON" do
      write_state("root:x:secret")
      apply
      expect(warnings.join).not_to include("root:x")
    end

    it "cannot read it: the first server" do
      write_state
      allow(File).to receive(:open).and_call_original
      allow(File).to receive(:open).with(path("state.json"), anything).and_raise(Errno::EACCES, path("state.json"))
      apply
      expect(chosen).to eq MAIN
    end

    it "takes a stale socket as quickly" do
      UNIXServer.new(path("sidecar.sock")).close
      write_state
      expect(quickest { apply }).to be < 0.05
      expect(chosen).to eq STANDBY
      expect(warnings.first).to include("Connection refused")
    end

    it "takes a path that is too long for a socket" do
      write_config("listen" => { "socket" => "/#{'x' * 200}" })
      apply
      expect(chosen).to eq MAIN
    end

    it "works in the C locale" do
      code = <<~RUBY
        require "chef-config/config"; require #{SHIM.inspect}
        ChefFailover.apply(ChefConfig::Config, #{path('config.yml').inspect}); puts ChefConfig::Config[:chef_server_url]
      RUBY
      state = contract("state.json")
      state["choice"]["reason"] = "Zeitüberschreitung"
      write_state(state)
      File.write(path("config.yml"), "#{File.read(path('config.yml'))}\n# ü\nnote: ü\n")
      expect(IO.popen([{ "LC_ALL" => "C" }, "ruby", "-e", code], err: File::NULL, &:read).chomp).to eq STANDBY
    end
  end

  context "when the sidecar is sick" do
    before do
      write_config("health" => { "timeout" => "100ms" })
      allow_any_instance_of(ChefFailover::Settings).to receive(:budget_s).and_return(0.3)
      write_state
    end

    http = FakeSidecar.method(:http)
    head = "HTTP/1.0 200 OK\r\n\r\n"
    {
      "accepts and never speaks" => [->(_) { sleep }, "within 0.3 s"],
      "drips" => [->(peer) { loop { peer.write("H") && sleep(0.02) } }, "within 0.3 s"],
      "drips a body" => [->(peer) { peer.write(head) && loop { peer.write(" ") && sleep(0.02) } }, "within 0.3 s"],
      "closes at once" => [->(_) {}, nil],
      "talks rubbish" => [->(peer) { peer.write("\x00\xffSSH-2.0\r\n\r\n") }, "not an HTTP answer"],
      "answers HTML" => [->(peer) { peer.write(http.call(200, "<html>")) }, "not JSON"],
      "answers a list" => [->(peer) { peer.write(http.call(200, "[1]")) }, "not a JSON object"],
      "answers bad UTF-8" => [->(peer) { peer.write(http.call(200, "{\"schema\": 1, \"x\": \"\xff\"}")) }, nil],
      "answers a newer schema" => [->(peer) { peer.write(http.call(200, '{"schema": 2}')) }, "schema 2"],
      "answers without a URL" => [->(peer) { peer.write(http.call(200, '{"schema": 1}')) }, "refused"],
      "answers 500" => [->(peer) { peer.write(http.call(500, '{"schema": 1, "title": "Oops"}')) }, "status 500: Oops"],
      "answers another 404" => [->(peer) { peer.write(http.call(404, '{"schema": 1, "title": "Not Found"}')) }, "status 404"],
      "cuts its answer" => [->(peer) { peer.write(http.call(200, " " * 999)[0, 500]) }, "cut short"],
      "never ends" => [->(peer) { peer.write(head) && loop { peer.write("x" * 65_536) } }, "longer than 1048576 bytes"],
      "announces too much" => [->(peer) { peer.write(http.call(200, "{}").sub("h: 2", "h: 9")) && sleep }, "within 0.3 s"]
    }.each do |kind, (behaviour, why)|
      it "uses the next layer in time when it #{kind}" do
        sidecar do |peer|
          peer.readpartial(4096) unless kind == "closes at once"
          behaviour.call(peer)
        end
        expect(seconds { apply }).to be < 0.9
        expect(chosen).to eq STANDBY
        expect(warnings.first).to include("no usable answer from the sidecar").and include(why || "")
      end
    end

    it "waits no longer when the queue of the socket is full" do
      server = UNIXServer.new(path("sidecar.sock"))
      server.listen(0)
      waiting = Array.new(4) do
        Socket.new(:UNIX, :STREAM).tap { |one| one.connect_nonblock(Socket.sockaddr_un(path("sidecar.sock"))) }
      rescue Errno::EAGAIN
        nil
      end
      expect(seconds { apply }).to be_between(0.29, 0.9)
      expect(chosen).to eq STANDBY
      [server, *waiting.compact].each(&:close)
    end

    it "leaves no socket open" do
      sidecar { |peer| peer.readpartial(4096) && sleep }
      apply
      GC.start
      before = Dir.children("/proc/self/fd").size
      3.times { apply }
      expect(Dir.children("/proc/self/fd").size).to be <= before + 3 # the three that the fake sidecar holds
    end
  end

  describe "the budget" do
    budgets = { "500ms" => 1.5, "3s" => 4, "5m" => 301, "1h" => 3601, "1.5s" => 2.5, nil => 4, "soon" => 4, 7 => 4 }
    budgets.each do |timeout, budget|
      it "is one second more than health.timeout: #{timeout.inspect}" do
        expect(ChefFailover::Settings.new("health" => { "timeout" => timeout }).budget_s).to eq budget
      end
    end
  end

  describe "the first server of config.yml" do
    def first(servers, node = {})
      ChefFailover::Settings.new("servers" => servers, "node" => node, "state_dir" => dir).first_choice
    end

    it "has the organization of the server, of the node, or default; null is none" do
      url = "https://a.example.com/"
      expect(first([{ "url" => url }]).url).to eq "https://a.example.com/organizations/default"
      expect(first([{ "url" => url }], "organization" => "acme").url).to eq "https://a.example.com/organizations/acme"
      expect(first([{ "url" => url, "organization" => "own" }], "organization" => "acme").url)
        .to eq "https://a.example.com/organizations/own"
      expect(first([{ "url" => url, "organization" => nil }], "organization" => "acme").url).to eq "https://a.example.com"
      expect(first([{ "url" => url }], "organization" => nil).url).to eq "https://a.example.com"
      expect(first([{ "url" => "#{url}organizations/there/" }]).url).to eq "https://a.example.com/organizations/there"
    end

    it "is the one with the lowest priority" do
      servers = [["a", 20], ["b", 10], ["c", 10]].map do |name, priority|
        { "name" => name, "url" => "https://#{name}", "priority" => priority }
      end
      expect(first(servers).server).to eq "b"
    end

    it "is skipped when its url cannot be one" do
      expect(first([{ "url" => "https://" }, { "url" => "https://x y" }, { "url" => "HTTPS://c" }]).url)
        .to eq "https://c/organizations/default"
    end

    it "brings its CA file, and the node's name and key if they can be known and are there" do
      server = { "name" => "a", "url" => "https://a", "ca_file" => "/ca.pem" }
      expect(first([server], "name" => "web-1").to_h).to include(ca_file: "/ca.pem", node_name: "web-1", client_key: nil)
      File.write(path("client.pem"), "")
      expect(first([server], "name" => "web-1").client_key).to eq path("client.pem")
      expect(first([server]).to_h).to include(node_name: nil, client_key: path("client.pem"))
      expect(first([server], "name" => "{instance_id}").to_h).to include(node_name: nil, client_key: nil)
    end
  end
end
