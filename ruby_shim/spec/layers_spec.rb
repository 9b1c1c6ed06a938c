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

    it "takes name and key only if they are those that were accepted" do
      apply
      expect([config[:node_name], config[:client_key]]).to eq %w[web-1 /var/lib/chef-failover/client.pem]
      FakeChef::Log.lines.clear
      sidecar_answers("client_key" => "/etc/chef/validation.pem")
      ChefConfig::Config.reset
      apply
      expect([config[:node_name], config[:client_key]]).to eq %w[web-1 /etc/chef/client.pem]
      expect(warnings).to match [%r{client_key "/etc/chef/validation.pem" ignored}]
    end

    ["web-2", nil].each do |name|
      it "takes no key for a node that is not the accepted one: #{name.inspect}" do
        sidecar_answers("node_name" => name)
        apply
        expect([chosen, config[:node_name], config[:client_key]]).to eq [STANDBY, nil, "/etc/chef/client.pem"]
        expect(warnings.last).to include('client_key "/var/lib/chef-failover/client.pem" ignored')
      end
    end

    it "takes neither where no name was accepted" do
      write_accepted("node_name" => nil)
      apply
      expect([chosen, config[:node_name], config[:client_key]]).to eq [STANDBY, nil, "/etc/chef/client.pem"]
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

    it "waits for no end of the connection behind an answer that gives its length" do
      @sidecar.stop
      File.delete(path("sidecar.sock"))
      @sidecar = FakeSidecar.new(path("sidecar.sock")) do |peer|
        peer.readpartial(4096)
        peer.write(FakeSidecar.http(200, JSON.generate(contract("server.json")))) && sleep
      end
      apply
      expect(chosen).to eq STANDBY
      expect(warnings).to be_empty
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

    it "touches nothing and says nothing, and does not even ask, when none was accepted" do
      write_accepted("servers" => [])
      sidecar_answers
      config[:chef_server_url] = ELSEWHERE
      apply
      expect([chosen, FakeChef::Log.lines, sidecar.requests.size]).to eq [ELSEWHERE, [], 0]
    end
  end

  context "when nothing is accepted that can be used" do
    def expect_untouched(why)
      sidecar_answers
      config[:chef_server_url] = ELSEWHERE
      expect { apply }.not_to raise_error
      expect([chosen, config[:node_name], sidecar.requests.size]).to eq [ELSEWHERE, nil, 0]
      expect(warnings).to match [a_string_including("no accepted configuration at #{accepted}: ", why,
                                                    "chef_server_url is unchanged")]
    end

    {
      "missing" => [nil, "No such file"], "not JSON" => ["servers: []\n", "not JSON"], "a list" => ["[]", "not a JSON object"],
      "of a newer schema" => ['{"schema": 2}', "schema 2"], "bytes" => ["\xff\xfe\x00", "not JSON"],
      "huge" => [" " * ((1 << 20) + 1), "longer than"]
    }.each do |kind, (text, why)|
      it "touches nothing and warns: #{kind}" do
        text ? File.binwrite(accepted, text) : File.delete(accepted)
        expect_untouched(why)
      end
    end

    it "touches nothing and warns: half of it" do
      File.write(accepted, JSON.generate(contract("accepted.json").reject { |key, _| key == "trusted_hosts" }))
      config[:chef_server_url] = ELSEWHERE
      apply
      expect([chosen, warnings.size]).to eq [ELSEWHERE, 1]
    end

    it "does not believe what users other than root can write" do
      [0o664, 0o646].each do |mode|
        FakeChef::Log.lines.clear
        ChefFailover.remove_instance_variable(:@hooks) if ChefFailover.instance_variable_defined?(:@hooks)
        File.chmod(mode, accepted)
        expect_untouched("users other than root can write it")
      end
    end

    it "does not believe what another user has written, but root's" do
      allow(Process).to receive(:euid).and_return(65_534)
      mine = Process.uid.zero? ? File.chown(65_535, nil, accepted) : 1
      expect(mine).to eq 1
      expect_untouched("users other than root can write it")
    end

    it "is neither stopped by a pipe nor led away by a link" do
      File.rename(accepted, path("elsewhere.json"))
      File.mkfifo(accepted)
      expect_untouched("not a file")
      File.delete(accepted)
      File.symlink(path("elsewhere.json"), accepted)
      FakeChef::Log.lines.clear
      ChefFailover.remove_instance_variable(:@hooks)
      expect_untouched("Too many levels of symbolic links")
    end

    it "does not look at config.yml" do
      File.write(path("config.yml"), "servers: [{name: x, url: 'http://evil.example.net'}]\norganisation: acme\n")
      apply
      expect(chosen).to eq MAIN
    end

    it "loads no YAML" do
      expect(IO.popen(["ruby", "-r", SHIM, "-e", "p defined?(YAML)"], &:read)).to eq "nil\n"
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
      write_accepted("socket" => "/#{'x' * 200}")
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
      write_accepted("text" => "# ü")
      expect(IO.popen([{ "LC_ALL" => "C" }, "ruby", "-e", code], err: File::NULL, &:read).chomp).to eq STANDBY
    end
  end

  context "when the sidecar is sick" do
    before do
      write_accepted("budget_s" => 0.3)
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
      "cuts its answer" => [->(peer) { peer.write(http.call(200, " " * 999)[0, 500]) }, "incomplete answer"],
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

  describe "the first server that was accepted" do
    def first(changes = {})
      ChefFailover::Settings.new(contract("accepted.json").merge(changes)).first_choice
    end

    it "brings its CA file and the node's name, and the key if it is there" do
      ca_file = { "name" => "a", "chef_server_url" => "https://a", "ssl_ca_file" => "/ca.pem" }
      key = path("client.pem")
      expect(first("servers" => [ca_file]).to_h).to include(server: "a", url: "https://a", ca_file: "/ca.pem", node_name: "web-1")
      expect(first("client_key" => key).client_key).to be_nil
      File.write(key, "")
      expect(first("client_key" => key).client_key).to eq key
    end

    it "brings no key without a name" do
      File.write(path("client.pem"), "")
      expect(first("node_name" => nil, "client_key" => path("client.pem")).to_h).to include(node_name: nil, client_key: nil)
    end
  end
end
