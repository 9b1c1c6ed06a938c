# frozen_string_literal: true

module ChefFailover
  # One HTTP/1.0 exchange over a Unix socket, over by an absolute deadline. No proxy has a say in it.
  class Exchange
    def initialize(path, budget_s)
      @path = path
      @budget_s = budget_s
      @deadline = ChefFailover.now + budget_s
    end

    # The status and the JSON object of the answer; Unusable if there is none in time.
    def call(verb, target, body = nil)
      socket = Socket.new(:UNIX, :STREAM)
      connect(socket)
      write(socket, request(verb, target, body))
      parse(read(socket))
    rescue SystemCallError, IOError, ArgumentError => e # ArgumentError: the path is too long for a socket
      raise Unusable, e.message
    ensure
      socket&.close
    end

    private

    def left_s
      left = @deadline - ChefFailover.now
      left.positive? ? left : raise(Silent, "no complete answer within #{@budget_s} s")
    end

    # Linux connects a Unix socket at once, or not at all while the queue of the other side is full.
    def connect(socket)
      socket.connect_nonblock(Socket.sockaddr_un(@path))
    rescue Errno::EAGAIN # and then nothing can be selected
      sleep([left_s, 0.01].min)
      retry
    end

    def request(verb, target, body)
      length = body ? "Content-Type: application/json\r\nContent-Length: #{body.bytesize}\r\n" : ""
      "#{verb} #{target} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n#{length}\r\n#{body}"
    end

    # At once, where the socket's buffer takes it whole.
    def write(socket, rest)
      until rest.empty?
        IO.select(nil, [socket], nil, left_s)
        count = socket.write_nonblock(rest, exception: false)
        rest = rest.byteslice(count, rest.bytesize) unless count == :wait_writable
      end
    end

    # To the length that the answer gives, or else to the end of the connection, which comes a moment later.
    def read(socket)
      answer = String.new
      until answer.bytesize > Document::LONGEST_BYTES
        IO.select([socket], nil, nil, left_s)
        chunk = socket.read_nonblock(65_536, exception: false)
        answer << chunk if chunk.is_a?(String)
        return answer if chunk.nil? || whole?(answer)
      end
      raise Unusable, "answer longer than #{Document::LONGEST_BYTES} bytes"
    end

    def whole?(answer)
      head, body = answer.split("\r\n\r\n", 2)
      body && (length = length_in(head)) && body.bytesize >= length
    end

    def length_in(head)
      head[/^content-length: *(\d+)/i, 1]&.to_i
    end

    def parse(answer)
      raise Unusable, "empty answer" if answer.empty?

      head, body = answer.split("\r\n\r\n", 2)
      status = head[%r{\AHTTP/1\.[01] (\d{3})\b}, 1]
      raise Unusable, "not an HTTP answer" unless status && body
      raise Unusable, "incomplete answer" if body.bytesize < length_in(head).to_i

      [status.to_i, Document.parse(body)]
    end
  end
end
