# frozen_string_literal: true

# Tries the cases on standard input, JSON, as chef-client would connect, and writes what came of each.
#
# As Chef::HTTP::BasicClient and its SSL policies have it: the proxy is chef-config's choice; the store is OpenSSL's
# default one with each file of trusted_certs_dir, and Net::HTTP adds ssl_ca_file to it.

require "json"
require "net/http"
require "openssl"
require "chef-config/config"

def certificate(path)
  OpenSSL::X509::Certificate.new(File.binread(path))
end

def trusted(directory)
  store = OpenSSL::X509::Store.new
  store.set_default_paths
  Dir.glob(File.join(directory, "*.{crt,pem}")).each do |path|
    store.add_cert(certificate(path))
  rescue OpenSSL::X509::StoreError => e
    raise unless e.message.include?("already in hash table")
  end
  store
end

def http_to(one)
  proxy = ChefConfig::Config.proxy_uri("https", one["host"], one["port"])
  builder = proxy ? Net::HTTP.Proxy(proxy.host, proxy.port, proxy.user, proxy.password) : Net::HTTP
  builder.new(one["host"], one["port"], nil)
end

def connect(one)
  http = http_to(one)
  http.ipaddr = "127.0.0.1"
  http.open_timeout = http.read_timeout = 10
  http.use_ssl = true
  http.verify_mode = one["verify"] == false ? OpenSSL::SSL::VERIFY_NONE : OpenSSL::SSL::VERIFY_PEER
  http.ca_file = one["ca_file"]
  http.cert_store = trusted(one["trusted_certs"])
  if one["client"]
    http.cert = certificate(one["client"])
    http.key = OpenSSL::PKey.read(File.binread(one["client"]))
  end
  http.get("/_status").code == "200" ? "ok" : "not 200"
end

def route(one)
  http = http_to(one)
  return "direct" unless http.proxy?

  Addrinfo.getaddrinfo(http.proxy_address, nil) if http.proxy_address.include?(":")
  [http.proxy_address, http.proxy_port, http.proxy_user && "#{http.proxy_user}:#{http.proxy_pass}"]
end

def try(one)
  ENV.update(one["env"] || {})
  one["trusted_certs"] ? connect(one) : route(one)
rescue StandardError => e # also NoMethodError, by which Ruby refuses a name that begins with a dot
  "#{e.class}: #{e.message}"
ensure
  (one["env"] || {}).each_key { |name| ENV.delete(name) }
end

%w[https_proxy no_proxy http_proxy HTTPS_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR].each { |name| ENV.delete(name) }
puts JSON.generate(JSON.parse($stdin.read).map { |one| try(one) })
