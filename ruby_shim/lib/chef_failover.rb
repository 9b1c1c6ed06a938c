# frozen_string_literal: true

# The part of chef-failover that runs inside chef-client, as root. It asks which Chef server to use, checks the answer,
# sets it and reports how the run went. The sidecar decides which server is best: there is no policy here.
#
# Three layers can give the answer: the sidecar on its Unix socket; the choice that it last wrote to state.json; the first
# server that was accepted. A layer that fails costs one warning, a bounded time and a step to the next, never the run.
#
# Only what root has accepted of config.yml is trusted, in a file that only root can write. Socket and state.json are the
# sidecar's, and chef-client executes what its server sends. So a URL from there must be an accepted server's, to the
# letter, or plain https to a trusted host; name, key and CA file must be those that were accepted.
#
# The shim acts twice. When client.d is read it takes what the sidecar knows at that moment, and has the servers probed. At
# run_start, a tenth of a second later and the last moment before the first request, it waits for results from then on. So
# a server that died before chef-client was started is never used, and each run costs one probe. A daemonised chef-client
# does not read client.d after a run that failed, but each run has its run_start (in the forked child, so what is set there
# ends with it). Without events, the first answer is the last, and is waited for.
#
# An exception in client.d ends chef-client, and one in run_start ends the run, so nothing is raised. But SystemExit and
# signals pass: while files are read TERM arrives as one of them, and a run whose TERM was swallowed would go on.
module ChefFailover
  # A layer has no answer; the sidecar gave none in its time; it has no server to choose from, so nothing is touched.
  class Unusable < StandardError; end
  class Silent < Unusable; end
  class NoServer < StandardError; end

  # The one object that lives from the reading of client.d to the end of a run, also when this file is loaded again.
  def self.hooks
    @hooks ||= Hooks.new
  end

  def self.now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  # Foreign text for one line of a log: no controls, no marks that turn the direction of what follows.
  def self.printable(text)
    text.dup.force_encoding(Encoding::UTF_8)[0, 500].scrub("?").gsub(/[\p{C}\p{Z}&&[^ ]]/, "?")
  end

  def self.log(level, text)
    line = "chef-failover: #{printable(text.to_s)}"
    if defined?(::Chef::Log)
      ::Chef::Log.public_send(level, line)
    elsif level == :warn
      Kernel.warn(line)
    end
  rescue StandardError
    nil # a full disk behind the log is no reason to lose the run
  end

  begin
    %w[fileutils json securerandom socket].each { |library| require library }
    %w[document exchange settings run layers client_config facts used hooks]
      .each { |part| require_relative "chef_failover/#{part}" }
    # Last, since client.d calls apply only if it is defined.
    %i[apply facts run_start run_end].each { |name| define_singleton_method(name) { |*args| hooks.public_send(name, *args) } }
  rescue StandardError, ScriptError => e # the package is half removed, or being replaced at this moment
    log(:warn, "the shim is incomplete: #{e.message}; chef_server_url is unchanged")
  end
end
