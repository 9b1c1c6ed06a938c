# frozen_string_literal: true

require_relative "spec_helper"

RSpec.describe "What a run used" do
  let(:run_status) { Struct.new(:run_id).new("5b3f0f4e-8a53-4d57-9d5c-0e1f0f7f3b11") }
  let(:plain) { contract("run_succeeded.json").reject { |key, _| key == "used" } }

  before { sidecar_answers }

  # The reports of the end of one run.
  def reports_of(node)
    start_run
    sidecar.runs
    dispatch(:run_completed, node, run_status)
    sidecar.runs
  end

  def used_by(node)
    reports = reports_of(node)
    expect(reports.map { |report| report["event"] }).to eq ["succeeded"]
    reports.last["used"]
  end

  it "is run list, environment and the cookbooks' versions" do
    expect(used_by(FakeNode.new)).to eq contract("run_succeeded.json")["used"]
  end

  it "is the policy with its group and revision, too" do
    node = FakeNode.new
    node.automatic_attrs["policy_revision"] = "4b3a8f2"
    node.policy_name = "web"
    node.policy_group = node.chef_environment = "staging"
    expect(used_by(node)).to include("policy_name" => "web", "policy_group" => "staging", "environment" => "staging",
                                     "policy_revision" => "4b3a8f2")
  end

  it "is text, whatever the cookbooks made of it" do
    odd = FakeNode.new([:web, URI("https://x.example")], { web: "1.2.3" }, {})
    expect(used_by(odd)).to include("run_list" => %w[web https://x.example], "cookbooks" => { "web" => "1.2.3" })
  end

  it "is not told of a failed run" do
    start_run
    dispatch(:run_failed, RuntimeError.new("x"), Struct.new(:node).new(FakeNode.new))
    expect(sidecar.runs.last.keys).not_to include("used")
  end

  describe "is left out, and the run is reported" do
    it "where a person asked for another run list, for this run" do
      node = FakeNode.new
      node.override_runlist = %w[recipe[hotfix]]
      expect(used_by(node)).to be_nil
      node.override_runlist = [] # chef-client with a recipe's file
      expect(used_by(node)).to be_nil
    end

    [%w[-n list], %w[-nlist], %w[--named-run-list list], %w[--named list]].each do |words|
      it "with #{words.join(' ')}" do
        argv(*words)
        expect(used_by(FakeNode.new)).to be_nil
      end
    end

    it "where it is longer than the sidecar takes" do
      expect(used_by(FakeNode.new(Array.new(4000) { |n| "recipe[web::#{n}]" }))).to be_nil
    end

    { "nothing" => nil, "no node" => Object.new, "one without a run list" => FakeNode.new(nil),
      "one with a run list that is no text" => FakeNode.new(["\xff"]),
      "one without cookbooks" => FakeNode.new([], {}, { "cookbooks" => nil }),
      "one without a version" => FakeNode.new([], {}, { "cookbooks" => { "web" => {} } }),
      "one with a version that is no text" => FakeNode.new([], { "web" => "\xff" }, {}) }.each do |what, node|
      it "where what Chef gives is #{what}" do
        expect(used_by(node)).to be_nil
        expect(warnings.join).not_to include("reported")
      end
    end

    it "where the sidecar does not take it" do
      sidecar.answer("/v1/runs", 400, "schema" => 1, "title" => "Invalid run report")
      reports = reports_of(FakeNode.new)
      expect(reports.map { |report| report.key?("used") }).to eq [true, false]
      expect(reports.last).to eq plain.merge("run_id" => reports.first["run_id"])
    end
  end

  it "is empty for a node that does nothing" do
    expect(used_by(FakeNode.new([], {}, {}))).to include("run_list" => [], "cookbooks" => {})
  end

  it "leaves the node's attributes as they are" do
    node = FakeNode.new
    node.automatic_attrs = Hash.new { |hash, key| hash[key] = {} } # as Chef's do
    expect(used_by(node)).to include("cookbooks" => {}, "policy_revision" => nil)
    expect(node.automatic_attrs).to be_empty
  end

  it "costs milliseconds with 500 cookbooks" do
    node = FakeNode.new(%w[role[base]], Array.new(500) { |n| ["a_cookbook_with_a_long_name_#{n}", "12.34.56"] }.to_h, {})
    start_run
    sidecar.runs
    spent = quickest do
      dispatch(:run_start, "18", run_status)
      dispatch(:run_completed, node, run_status)
    end
    expect(spent).to be < 0.4
    expect(sidecar.runs.last["used"]["cookbooks"].size).to eq 500
  end

  it "reaches the sidecar whole, however little a socket's buffer takes" do
    body = JSON.generate(text: "x" * 2_000_000)
    write_accepted
    ChefFailover::Exchange.new(path("sidecar.sock"), 20).call("POST", "/v1/runs", body)
    expect(sidecar.runs).to eq [JSON.parse(body)]
  end
end
