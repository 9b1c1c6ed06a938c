# frozen_string_literal: true

require_relative "spec_helper"

RSpec.describe "The host check" do
  before do
    write_accepted("trusted_hosts" => ["*.chef.example.com", "chef.example.org"])
    write_state(contract("state.json").merge("choice" => { "chef_server_url" => ELSEWHERE }))
  end

  def offered(url)
    sidecar_answers("chef_server_url" => url)
    apply
    chosen
  end

  %w[
    https://chef-a.example.com/organizations/default
    https://chef-b.example.com:8443/organizations/default
    https://chef-c.example.com
    https://a.chef.example.com
    https://a.b.Chef.Example.Com:9443/organizations/default
    https://CHEF.example.org/organizations/x-1_2.~
  ].each do |url|
    it("accepts #{url}") { expect(offered(url)).to eq url }
  end

  it "takes a server's URL to the letter, whatever is in it" do
    url = "https://[fd00::1]:8443/a%20b//organizations/x"
    write_accepted("servers" => [{ "name" => "a", "chef_server_url" => url, "ssl_ca_file" => nil }])
    expect(offered(url)).to eq url
  end

  [
    "https://evil.example.net/organizations/default",
    "https://chef-a.example.com",
    "https://chef-a.example.com:443/organizations/default",
    "https://CHEF-A.example.com/organizations/default",
    "https://chef-a.example.com/organizations/default/",
    "HTTPS://a.chef.example.com/organizations/default",
    "https://chef-a.example.com/organizations/attacker",
    "https://chef-a.example.com/organizations/DEFAULT",
    "https://chef-a.example.com/organizations/default/x",
    "https://chef-a.example.com//organizations/default",
    "https://chef-c.example.com/organizations/default",
    "https://a.chef.example.com/organizations/default/../attacker",
    "https://a.chef.example.com/organizations/default/..",
    "https://a.chef.example.com/./organizations/default",
    "https://a.chef.example.com/organizations/%61ttacker",
    "https://#{'x' * 250}.chef.example.com",
    "https://evilchef.example.com",
    "https://chef.example.com",
    "https://.chef.example.com",
    "https://x..chef.example.com",
    "https://a.chef.example.com.evil.net",
    "https://a.chef.example.com.",
    "https://a.chef.example.org",
    "https://chef.example.org.",
    "https://chef-b.example.com/organizations/default",
    "https://chef-a.example.com:8443",
    "https://chef-a.example.com:",
    "https://chef-a.example.com:0443x",
    "http://chef-a.example.com",
    "http://chef-a.example.com:443",
    "http://a.chef.example.com",
    "HTTP://a.chef.example.com",
    "https://chef-a.example.com@evil.net/",
    "https://chef-a.example.com:443@evil.net/",
    "https://user:password@chef-a.example.com/",
    "https://evil.net\\@chef-a.example.com/",
    "https://evil.net\\.chef.example.com/",
    "https:\\\\chef-a.example.com/",
    "https://evil.net/.chef.example.com",
    "https://evil.net#.chef.example.com",
    "https://evil.net?.chef.example.com",
    "https://evil.net\#@chef-a.example.com",
    "https://chef-a.example.com/?x=@evil.net",
    "https://chef-a.example.com/\nhttps://evil.net",
    "https://evil.net\nhttps://chef-a.example.com",
    " https://chef-a.example.com",
    "https://chef-a.example.com ",
    "https://chef-a.example.com\t",
    "https://chef-a.example.com\u0000.evil.net",
    "https://evil.net%2f.chef.example.com",
    "https://evil.net%00.chef.example.com",
    "https://e\u212Aample.chef.example.com",
    "https://evil\u3002chef.example.com",
    "https:chef-a.example.com",
    "https:///chef-a.example.com",
    "//chef-a.example.com",
    "chefzero://chef-a.example.com",
    "file:///etc/passwd",
    "", nil, 7, [], {}, ["https://chef-a.example.com"], true
  ].each do |url|
    it "refuses #{url.inspect}" do
      expect(offered(url)).to eq MAIN # the state was refused as well: the first server of config.yml
      expect(warnings.first).to include("no usable answer from the sidecar").and include("refused")
    end
  end

  it "names the host that it refused, in the state too" do
    offered("https://evil.example.net/organizations/default")
    expect(warnings[0]).to include("refused https://evil.example.net/")
    expect(warnings[1]).to include("refused https://elsewhere.example.net/")
  end

  it "names the path that it refused on a host that config.yml does name" do
    offered("https://chef-a.example.com/organizations/attacker")
    expect(warnings[0]).to include("refused https://chef-a.example.com/organizations/attacker: ")
  end

  it "refuses a host too long to be one, in no time" do
    write_accepted("trusted_hosts" => ["*.a.example.com"])
    expect(seconds { offered("https://#{'a.' * 250_000}example.net") }).to be < 1
    expect(chosen).to eq MAIN
  end

  it "does not trust a host only for what a pattern lacks" do
    write_accepted("trusted_hosts" => ["a.c"])
    expect(offered("https://abc")).to eq MAIN
    expect(offered("https://xa.c")).to eq MAIN
    expect(offered("https://a.c")).to eq "https://a.c"
  end

  it "ignores a CA file, a key and a name that config.yml does not vouch for, and says so" do
    sidecar_answers("ssl_ca_file" => "/tmp/ca.pem", "client_key" => "/tmp/key.pem", "node_name" => "a b")
    apply
    expect([chosen, config[:ssl_ca_file], config[:node_name]]).to eq [STANDBY, nil, nil]
    expect(config[:client_key]).to eq "/etc/chef/client.pem"
    expect(warnings).to include(%r{ssl_ca_file "/tmp/ca.pem" ignored}, %r{client_key "/tmp/key.pem" ignored},
                                /node_name "a b" ignored/)
  end

  ca_file = "/etc/chef/trusted_certs/chef-b.pem"
  ["/etc/chef/../chef/trusted_certs/chef-b.pem", "#{ca_file}\u0000", "#{ca_file}/", "~nobody/x", "", "/"].each do |file|
    it "ignores the CA file #{file.inspect}" do
      sidecar_answers("ssl_ca_file" => file, "client_key" => file)
      apply
      expect([chosen, config[:ssl_ca_file], config[:client_key]]).to eq [STANDBY, nil, "/etc/chef/client.pem"]
    end
  end

  it "ignores fields of another type" do
    sidecar_answers("ssl_ca_file" => 7, "client_key" => [], "node_name" => {}, "passed_over" => { "a" => 1 },
                    "reason" => 5, "name" => nil)
    apply
    expect([chosen, config[:ssl_ca_file], config[:node_name]]).to eq [STANDBY, nil, nil]
  end
end
