# frozen_string_literal: true

require_relative "spec_helper"

RSpec.describe "The facts for Ohai" do
  def facts
    ChefFailover.facts(path("config.yml"))
  end

  it "are the sidecar's, without the schema" do
    sidecar("/v1/facts" => [200, contract("facts.json")])
    expect(facts.merge("schema" => 1)).to eq contract("facts.json")
    expect(facts).not_to have_key("schema")
  end

  it "have the server of the run, inside chef-client, whatever the sidecar's settled choice is" do
    run = { "server" => "standbyserver", "chef_server_url" => STANDBY }
    sidecar("/v1/facts" => [200, contract("facts.json").merge("server" => { "name" => "mainserver" })])
    sidecar_answers
    start_run
    expect(facts["run"]).to eq run
    sidecar.stop
    expect(facts).to include("available" => false, "run" => run)
  end

  it "are what state.json knows when the sidecar is down, in the same shape and without the key's path" do
    write_state
    expect(facts).to eq("available" => false, "server" => contract("facts.json")["server"],
                        "pin" => contract("facts.json")["pin"], "drains" => contract("facts.json")["drains"],
                        "servers" => contract("state.json")["servers"])
  end

  it "are small however many servers state.json has" do
    servers = Array.new(100) { |number| ["s#{number}", { "url" => "https://#{'p' * 500}", "well_since" => 1.0 }] }.to_h
    write_state(JSON.generate("schema" => 1, "servers" => servers, "drains" => {}))
    expect(JSON.generate(facts).bytesize).to be < 16_100
    expect(facts["servers"].keys).to eq(servers.keys.first(facts["servers"].size))
    expect(facts["servers"]["s0"].keys).to eq ["url"]
  end

  it "are that it is not available when nothing is known" do
    expect(facts).to eq("available" => false)
    File.delete(accepted)
    expect(facts).to eq("available" => false)
  end

  ["{", "[]", '{"schema": 2, "servers": {}}', '{"schema": 1, "choice": 7}'].each do |state|
    it "do not depend on state.json: #{state}" do
      write_state(state)
      expect(facts).to eq("available" => false)
    end
  end

  it "do not depend on drains and pins that make no sense" do
    write_state('{"schema": 1, "pin": 7, "drains": {"a": 7}, "servers": {}}')
    expect(facts).to eq("available" => false, "drains" => { "a" => nil }, "servers" => {})
    write_state('{"schema": 1, "pin": {}, "drains": [7], "servers": {}}')
    expect(facts).to eq("available" => false, "pin" => {}, "servers" => {})
  end

  it "do not keep Ohai waiting" do
    sidecar { |_| sleep }
    write_state
    expect(seconds { expect(facts["available"]).to be false }).to be < 1
  end

  it "never fail" do
    allow(ChefFailover::Settings).to receive(:load).and_raise(LoadError)
    expect(facts).to eq("available" => false)
  end
end
