# frozen_string_literal: true

module ChefFailover
  # What belongs to one run and is forgotten with it: when it first asked, whether the sidecar is silent, what was said.
  class Run
    SILENT_BUDGET_S = 0.2
    OPENING_S = 5
    # How far a run has come by these events of Chef 14 to 19. Cookbooks have a word from their compilation on.
    PHASES = { cookbook_sync_complete: "converge", converge_start: "converge", converge_complete: "save" }.freeze

    attr_reader :is_silent
    attr_writer :phase

    # asked_at: when client.d was read for this run; nil where run_start asks first.
    def initialize(asked_at = nil)
      @asked_at = asked_at
      @said = []
    end

    # The run that starts now is the one for which client.d was read, for the first time and a moment ago.
    def opened?(settings)
      asked_ago_s&.between?(0, OPENING_S + settings.budget_s)
    end

    # One exchange with the sidecar. One that was silent to the last question is given little time for this one.
    def ask(settings, budget_s, *request)
      answer = Exchange.new(settings.socket, is_silent ? [budget_s, SILENT_BUDGET_S].min : budget_s).call(*request)
      @is_silent = false
      answer
    rescue Silent
      @is_silent = true
      raise
    end

    # A run's first question has the servers probed from then on, and its last one waits for results from then on. Where a
    # daemon's run follows a failure at once, client.d is an earlier run's: the sidecar minds no result from before that.
    def question(is_final)
      return "/v1/server?wait=no#{'&max_age=0' if @asked_at}" unless is_final

      format("/v1/server?max_age=%.3f", asked_ago_s || 0)
    end

    # Says which server is used; only to those who debug if the choice is not final.
    def announce(choice, source = nil, is_final: true)
      notes = [source, ("degraded" if choice.is_degraded)].compact
      lines = [*choice.warnings, ["using #{choice.server} #{choice.url}", *notes, *choice.reason].join(", ")]
      level = lines.one? && notes.empty? ? :info : :warn
      lines.each { |line| say(line, is_final ? level : :debug) }
      choice
    end

    # Each warning once: client.d and run_start meet the same trouble.
    def say(text, level = :warn)
      is_known = level == :warn && @said.include?(text)
      @said << text if level == :warn
      ChefFailover.log(is_known ? :debug : level, text)
    end

    # What the report says of the error that ended it.
    def failure(error)
      return { error_class: nil } unless error

      response = error.response if error.respond_to?(:response)
      status = response.code.to_i if response.respond_to?(:code)
      { error_class: error.class.to_s, phase: @phase, http_status: status }
    end

    private

    def asked_ago_s
      @asked_at && (ChefFailover.now - @asked_at)
    end
  end
end
