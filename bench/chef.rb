# frozen_string_literal: true

# As much of Chef as makes the shim log where it would, and be called at run_start.

require "logger"

# The real one has more of everything.
module Chef
  Log = Logger.new(File::NULL, level: :warn)
  Config = { event_handlers: [] } # rubocop:disable Style/MutableConstant

  Handler = Struct.new(:blocks) do
    def handler
      self
    end

    def on(event, &block)
      blocks[event] = block
    end
  end

  def self.event_handler(&block)
    Config[:event_handlers] << Handler.new({}).tap { |made| made.instance_eval(&block) }
  end
end
