# frozen_string_literal: true

module ChefFailover
  # What a run used, as Chef knows it when the run ends: no server is asked for it.
  module Used
    LONGEST_BYTES = 60_000 # the sidecar takes requests of 64 KiB

    # As the report has it. nil where Chef does not tell, and where a person asked for another run list, for one run (-o,
    # which takes the place of the primary one) or for a named one (-n): the next run uses something else.
    def self.of(node)
      return if ClientConfig.given?(:named_run_list) || !node.run_list.equal?(node.primary_runlist)

      used = { run_list: node.run_list.map(&:to_s), environment: node.chef_environment, policy_name: node.policy_name,
               policy_group: node.policy_group, **of_attributes(node.automatic_attrs) }
      raise Unusable, "more than #{LONGEST_BYTES} bytes" if JSON.generate(used).bytesize > LONGEST_BYTES

      used
    rescue StandardError => e # a node is Chef's and the cookbooks', and no report is worth a run
      ChefFailover.log(:debug, "cannot report what the run used: #{e.class}: #{e.message}")
      nil
    end

    # fetch, since [] would create what is not there.
    def self.of_attributes(automatic)
      versions = automatic.fetch("cookbooks", {}).map { |name, cookbook| [name, cookbook.fetch("version")] }
      { policy_revision: automatic.fetch("policy_revision", nil), cookbooks: versions.to_h }
    end
  end
end
