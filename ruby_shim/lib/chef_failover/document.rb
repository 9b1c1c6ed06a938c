# frozen_string_literal: true

module ChefFailover
  # One file or body of JSON, read with a limit and trusted with nothing.
  module Document
    SCHEMA = 1
    LONGEST_BYTES = 1 << 20

    def self.parse(text)
      document = JSON.parse(text.dup.force_encoding(Encoding::UTF_8), max_nesting: 20)
      raise Unusable, "not a JSON object" unless document.is_a?(Hash)
      raise Unusable, "schema #{document['schema'].inspect}, #{SCHEMA} is understood" unless document["schema"] == SCHEMA

      document
    rescue JSON::ParserError, EncodingError # whose message may quote the text
      raise Unusable, "not JSON"
    end

    # Neither a symbolic link nor a pipe in the sidecar's directory shall lead or stop root.
    def self.read(path)
      File.open(path, File::RDONLY | File::NONBLOCK | File::NOFOLLOW) do |file|
        raise Unusable, "not a file" unless file.stat.file?
        raise Unusable, "longer than #{LONGEST_BYTES} bytes" if file.size > LONGEST_BYTES

        parse(file.read(LONGEST_BYTES).to_s)
      end
    rescue SystemCallError, IOError => e
      raise Unusable, e.message
    end
  end
end
