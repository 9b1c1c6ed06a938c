# frozen_string_literal: true

module ChefFailover
  # One file or body of JSON, read with a limit and trusted with nothing.
  module Document
    SCHEMA = 1
    LONGEST_BYTES = 1 << 20

    def self.parse(text)
      document = JSON.parse(text.dup.force_encoding(Encoding::UTF_8), max_nesting: 20)
      raise Unusable, "not a JSON object" unless document.is_a?(Hash)
      raise Unusable, "schema #{document['schema'].inspect} instead of #{SCHEMA}" unless document["schema"] == SCHEMA

      document
    rescue JSON::ParserError, EncodingError # whose message may quote the text
      raise Unusable, "not JSON"
    end

    # Neither a symbolic link nor a pipe shall lead or stop root. Root's is also who runs chef-client, if another does.
    def self.read(path, is_roots: false)
      File.open(path, File::RDONLY | File::NONBLOCK | File::NOFOLLOW) do |file|
        stat = file.stat
        is_safe = !is_roots || ([0, Process.euid].include?(stat.uid) && (stat.mode & 0o022).zero?)
        raise Unusable, "not a file" unless stat.file?
        raise Unusable, "users other than root can write it" unless is_safe
        raise Unusable, "longer than #{LONGEST_BYTES} bytes" if stat.size > LONGEST_BYTES

        parse(file.read(stat.size).to_s) # a buffer of the longest would cost more than all the rest
      end
    rescue SystemCallError, IOError => e
      raise Unusable, e.message
    end
  end
end
