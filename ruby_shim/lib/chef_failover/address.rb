# frozen_string_literal: true

module ChefFailover
  # A URL written so plainly that no two parsers read it differently.
  module Address
    # Spelled out instead of /i, which takes a Kelvin sign for a k.
    HOST = /[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]/.freeze
    URL = %r{\A(https?|HTTPS?)://(#{HOST})(?::(\d{1,5}))?((?:/[A-Za-z0-9._~%/-]*)?)\z}.freeze
    LONGEST_HOST = 253
    # What servers and proxies may each take for another path.
    AMBIGUOUS = %r{%|/\.{1,2}(?:/|\z)}.freeze

    # Scheme, host, port and path, or nil for what is not plainly a URL.
    def self.place(url)
      _, scheme, host, port, path = url.match(URL).to_a if url.is_a?(String)
      return if scheme.nil? || host.length > LONGEST_HOST

      port ||= { "https" => 443, "http" => 80 }[scheme.downcase]
      [scheme.downcase, host.downcase, port.to_i, path.sub(%r{/+\z}, "")]
    end

    # Chef refuses a scheme in capitals.
    def self.tidy(url)
      url.sub(%r{/+\z}, "").sub(/\A[A-Z]+/, &:downcase)
    end
  end
end
