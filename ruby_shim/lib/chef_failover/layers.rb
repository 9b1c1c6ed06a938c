# frozen_string_literal: true

module ChefFailover
  # Where a choice comes from, best first. A layer announces its choice, or warns why it has none.
  module Layers
    def self.choice(settings, run, is_final)
      of_sidecar(settings, run, is_final) || of_state(settings, run) ||
        run.announce(settings.first_choice, "the first server of config.yml")
    end

    # What the sidecar answers: where another question follows, by whatever results there are.
    def self.of_sidecar(settings, run, is_final)
      level = run.is_silent ? :debug : :warn # a silent sidecar is warned of once in a run
      status, answer = run.ask(settings, settings.budget_s, "GET", run.question(is_final))
      raise NoServer if status == 404 && answer["title"] == "No server is configured"
      raise Unusable, "status #{status}: #{answer['title']}" unless status == 200

      run.announce(settings.vouch_for(answer), is_final: is_final)
    rescue StandardError => e # whatever an answer may do to the code above, there is a next layer
      raise if e.is_a?(NoServer)

      run.say("no usable answer from the sidecar at #{settings.socket}: #{e.message}", level)
      nil
    end

    def self.of_state(settings, run)
      choice = Document.read(settings.state_file)["choice"]
      raise Unusable, "it has no choice" unless choice.is_a?(Hash)

      run.announce(settings.vouch_for(choice), "the last choice in #{settings.state_file}")
    rescue StandardError => e
      run.say("no usable choice in #{settings.state_file}: #{e.message}")
      nil
    end
  end
end
