"""The zoo: certificates, stores, modes and proxies, each tried by our probe and by Ruby as chef-client sets it up.

Both must come to the same, whichever it is; what we refuse on purpose although chef-client would not is in STRICTER.
One Ruby process tries all, before the files get their modes: it plays root, whom modes do not stop.
"""

import contextlib
import datetime
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from chef_failover.chef.https import ChefServer, Target
from chef_failover.chef.lookup import Resolver
from chef_failover.chef.probes import Prober
from chef_failover.chef.proxy import proxy_for
from chef_failover.chef.trust import TrustStore
from chef_failover.model.model import Outcome
from tests.support.chef import PONG
from tests.support.parts import missing_part, require_program

RUBY = Path(__file__).parents[1] / "ruby" / "trust_as_chef_client.rb"
HOST = "chef.example.com"
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
STORE, SYSTEM = "opt/chef/embedded/ssl/certs/cacert.pem", "system.pem"
BY_HASH = "opt/chef/embedded/ssl/certs/HASH.0"
OURS, CINCS = "etc/chef/trusted_certs", "etc/cinc/trusted_certs"
TROUBLE = {"is_node_trouble": True}
CHEF, CINC = {"opt/chef/bin/chef-client": b""}, {"opt/cinc/bin/cinc-client": b""}
STATUS = json.dumps({"status": "pong", "upstreams": PONG}).encode()


# --- what certificates there are --------------------------------------------------------------------------------------


@attrs.frozen
class Made:
    """A certificate with its key, and what its server sends after it."""

    certificate: x509.Certificate
    key: Any
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self):
        return self.certificate.public_bytes(PEM)

    @property
    def der(self):
        return self.certificate.public_bytes(DER)

    @property
    def whole(self):
        key = self.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return key + self.pem + b"".join(one.public_bytes(PEM) for one in self.chain)


def make(*names, issuer=None, san=(), is_ca=None, valid=(-DAY, 90 * DAY), key=None, extensions=(), chain=()):
    """A certificate with these common names; without ``issuer`` it signs itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    by = issuer.certificate.subject if issuer else subject
    starts, ends = (NOW + one for one in valid)
    builder = x509.CertificateBuilder(by, subject, key.public_key(), x509.random_serial_number(), starts, ends)
    if san:
        builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
    if is_ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    signs = issuer.key if issuer else key
    algorithm = None if isinstance(signs, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Made(builder.sign(signs, algorithm), key, chain)


def dns(*names):
    return [x509.DNSName(name) for name in names]


def address(*texts):
    return [x509.IPAddress(ipaddress.ip_address(text)) for text in texts]


ROOT = make("root", is_ca=True)
OTHER = make("another root", is_ca=True)
OLD_ROOT = make("old root", is_ca=True, valid=(-DAY, -DAY / 2))
MIDDLE = make("middle", issuer=ROOT, is_ca=True)
LEAF = make("server", issuer=ROOT, san=dns(HOST))
BY_MIDDLE = make("server", issuer=MIDDLE, san=dns(HOST))
ALONE = make("server", san=dns(HOST))
ALONE_CA = make(HOST, is_ca=True)
NAMELESS_CA = make("no authority", issuer=ROOT)
WEAK = {"ciphers": "ALL:@SECLEVEL=0"}
"""For a front that would. The system's OpenSSL decides for us and for this Ruby; a packaged client has its own."""
CONSTRAINED = make("constrained", issuer=ROOT, is_ca=True, extensions=[
    (x509.NameConstraints(permitted_subtrees=dns("example.org"), excluded_subtrees=None), True)])  # fmt: skip


def leaf(*names, **more):
    return make(*(names or ("server",)), issuer=ROOT, **more)


def sent(issuer):
    """A leaf whose server sends its issuer as well."""
    return make("server", issuer=issuer, san=dns(HOST), chain=(issuer.certificate,))


@attrs.frozen
class Case:
    """One server and one node, and whether a run could connect.

    ``files`` lie below the node's root; ``trusts`` is the same for its trusted_certs. ``modes`` hold for us alone.
    """

    name: str
    works: bool
    made: Made = LEAF
    host: str = HOST
    trusts: dict = attrs.field(factory=dict)
    files: dict = attrs.field(factory=dict)
    ca_file: str | None = None
    modes: dict = attrs.field(factory=dict)
    links: dict = attrs.field(factory=dict)
    is_stricter: bool = False
    """Chef-client connects, and we do not, on purpose."""
    is_node_trouble: bool = False
    """We cannot tell or no run works, and no server pays for it."""
    more: dict = attrs.field(factory=dict)
    """What client.rb says, for Ruby alone."""
    server: dict = attrs.field(factory=dict)

    @property
    def product(self):
        return "cinc" if set(CINC) & set(self.files) and not set(CHEF) & set(self.files) else "chef"


def named(works, host, *names, san=(), **more):
    what = f"{host} by {', '.join(names) or 'no name'}" + (f" and {', '.join(map(_said, san))}" if san else "")
    return Case(what, works, leaf(*(names or ("server",)), san=san), host, {"ca.pem": ROOT.pem}, **more)


def _said(name):
    return f"{type(name).__name__} {getattr(name, 'value', '')}".replace("<Name(CN=x)>", "x")


NAMES = [
    named(True, HOST, san=dns(HOST)),
    named(True, HOST, HOST),
    named(False, HOST, "other.example.com"),
    named(False, HOST, HOST, san=dns("other.example.com")),
    named(False, HOST, HOST, san=address("127.0.0.1")),  # OpenSSL would take it
    named(True, HOST, HOST, san=[x509.RFC822Name("root@example.com")]),
    named(True, HOST, HOST, san=[x509.UniformResourceIdentifier(f"https://{HOST}")]),
    named(True, HOST, HOST, san=[x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]))]),
    named(True, HOST, "other.example.com", HOST),
    named(True, HOST, "Chef.Example.COM"),
    named(True, HOST, san=dns("CHEF.EXAMPLE.COM")),
    named(True, "CHEF.example.com", san=dns(HOST)),
    named(True, HOST, san=dns("chef.example.com.")),
    named(True, HOST, san=dns("*.example.com")),
    named(True, HOST, "*.example.com"),
    named(False, "a.b.example.com", san=dns("*.example.com")),
    named(False, "example.com", san=dns("*.example.com")),
    named(True, "example.com", san=dns("*.com")),  # from here on OpenSSL would say otherwise
    named(True, HOST, san=dns("ch*.example.com")),
    named(True, HOST, san=dns("c*f.example.com")),
    named(False, HOST, san=dns("chef*.example.com")),
    named(False, HOST, san=dns("c*e*.example.com")),
    named(False, HOST, san=dns("*.*.com")),
    named(False, HOST, san=dns("chef.*.com")),
    named(True, "xn--chf-bma.example.com", san=dns("*.example.com")),
    named(False, "xn--chf-bma.example.com", san=dns("xn--*.example.com")),
    named(True, "chef_a.example.com", san=dns("chef_a.example.com")),
    named(True, "chef", san=dns("chef")),
    named(True, "chef", "chef"),
    named(False, "chef", san=dns("CHEF")),
    named(False, "chef", san=dns("*")),
    named(False, HOST, san=dns(".example.com")),
    named(False, HOST, "ch\u00e9f.example.com"),
    named(True, "127.0.0.1", san=address("127.0.0.1")),
    named(True, "127.0.0.1", "127.0.0.1"),
    named(True, "127.0.0.1", san=dns("127.0.0.1")),
    named(True, "127.0.0.1", san=dns("*.0.0.1")),
    named(True, "127.0.0.1", san=dns(HOST) + address("127.0.0.1")),
    named(False, "127.0.0.1", "127.0.0.1", san=dns(HOST)),
    named(False, "127.0.0.1", "127.0.0.1", san=address("127.0.0.2")),
    named(False, "127.0.0.1", san=address("127.0.0.2")),
    named(False, "127.0.0.1", "localhost"),
    named(True, "::1", san=address("::1")),
    named(True, "::1", "::1"),
    named(False, "::1", san=address("::2")),
    named(True, "2001:db8::1", san=address("2001:db8:0::1")),
    named(False, "2001:db8::1", "2001:DB8::1"),
]


def chained(name, works, made=LEAF, **more):
    return Case(name, works, made, trusts=more.pop("trusts", {"ca.pem": ROOT.pem}), **more)


CHAINS = [
    chained("nothing trusted", False, trusts={}),
    chained("another CA trusted", False, trusts={"ca.pem": OTHER.pem}),
    chained("expired", False, leaf(san=dns(HOST), valid=(-2 * DAY, -DAY))),
    chained("not valid yet", False, leaf(san=dns(HOST), valid=(DAY, 2 * DAY))),
    chained("by an expired CA", False, make("server", issuer=OLD_ROOT, san=dns(HOST)), trusts={"ca.pem": OLD_ROOT.pem}),
    chained("signs itself, trusted", True, ALONE, trusts={"server.crt": ALONE.pem}),
    chained("signs itself, trusted, by its common name alone", True, ALONE_CA, trusts={"server.crt": ALONE_CA.pem}),
    chained("signs itself, not trusted", False, ALONE),
    chained("itself trusted, and not its CA", False, trusts={"server.crt": LEAF.pem}),
    chained("an intermediate that is sent", True, sent(MIDDLE)),
    chained("an intermediate that is not sent", False, BY_MIDDLE),
    chained("an intermediate that is trusted beside the root", True, BY_MIDDLE,
            trusts={"a.pem": MIDDLE.pem, "b.pem": ROOT.pem}),
    chained("an intermediate that is trusted without the root", False, BY_MIDDLE, trusts={"a.pem": MIDDLE.pem}),
    chained("by what is no authority", False, sent(NAMELESS_CA)),
    chained("outside the names its CA may sign", False, sent(CONSTRAINED)),
    chained("for clients alone", False, leaf(san=dns(HOST), extensions=[
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)])),
    chained("with a critical extension that nobody knows", False, leaf(san=dns(HOST), extensions=[
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)])),
    chained("Ed25519", True, leaf(san=dns(HOST), key=ed25519.Ed25519PrivateKey.generate())),
    chained("RSA of 2048 bits", True, leaf(san=dns(HOST), key=rsa.generate_private_key(65537, 2048))),
    chained("RSA of 1024 bits", False, leaf(san=dns(HOST), key=rsa.generate_private_key(65537, 1024)), server=WEAK),
    chained("TLS 1.2 alone", True, server={"maximum_version": ssl.TLSVersion.TLSv1_2}),
]  # fmt: skip


def kept(name, works, content, file="ca.pem", **more):
    return Case(name, works, trusts={file: content} if content is not None else {}, **more)


FORMS = [
    kept("PEM", True, ROOT.pem),
    kept("PEM, .crt", True, ROOT.pem, "ca.crt"),
    kept("DER, .crt", True, ROOT.der, "ca.crt"),
    kept("DER, .pem", True, ROOT.der),
    kept("DER and something after it", True, ROOT.der + b"\n# see the wiki"),
    kept("two DER, the first is right", True, ROOT.der + OTHER.der),
    kept("two DER, the second is right", False, OTHER.der + ROOT.der),
    kept("two PEM, the first is right", True, ROOT.pem + OTHER.pem),
    kept("two PEM, the second is right", False, OTHER.pem + ROOT.pem),
    kept("text before it, in Latin 1", True, b"subject=/CN=Chef f\xfcr alle\n" + ROOT.pem),
    kept("its key before it", True, ROOT.whole),
    kept("lines that end in CR LF", True, ROOT.pem.replace(b"\n", b"\r\n")),
    kept("a header of old", True, ROOT.pem.replace(b" CERTIFICATE", b" X509 CERTIFICATE")),
    kept("no line end at the end", True, ROOT.pem.rstrip()),
    kept("OpenSSL's own form", False, ROOT.pem.replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE"), **TROUBLE),
    kept("hidden", False, ROOT.pem, ".ca.pem"),
    kept(".cer", False, ROOT.pem, "ca.cer"),
    kept(".PEM", False, ROOT.pem, "ca.PEM"),
    kept("in a folder below", False, ROOT.pem, "more/ca.pem"),
    kept("twice", True, None, files={f"{OURS}/a.pem": ROOT.pem, f"{OURS}/b.crt": ROOT.der}),
    kept("a link", True, None, files={"ca": ROOT.pem}, links={f"{OURS}/ca.pem": "ca"}),
    kept("a folder that is a link", True, None, files={"certs/ca.pem": ROOT.pem}, links={OURS: "certs"}),
    *(
        kept(f"beside the right one {what}", False, ROOT.pem, files={f"{OURS}/z.crt": content}, **TROUBLE)
        for what, content in {
            "text": b"see the wiki",
            "an empty file": b"",
            "a torn one": ROOT.pem[:200],
            "one whose base64 is broken": ROOT.pem.replace(b"MI", b"!!", 1),
            "a torn DER": ROOT.der[:100],
            "a key alone": LEAF.whole.partition(b"-----BEGIN CERT")[0],
        }.items()
    ),
    kept("beside the right one a link to nothing", False, ROOT.pem, links={f"{OURS}/z.crt": "gone"}, **TROUBLE),
    kept("beside the right one a folder", False, ROOT.pem, files={f"{OURS}/z.crt/x": b""}, **TROUBLE),
]

STORES = [
    kept("ca_file", True, None, files={"ca": ROOT.pem}, ca_file="ca"),
    kept("ca_file of several", True, None, files={"ca": OTHER.pem + ROOT.pem}, ca_file="ca"),
    kept("ca_file in DER", False, None, files={"ca": ROOT.der}, ca_file="ca"),
    kept("ca_file is text, and trusted_certs right", False, ROOT.pem, files={"ca": b"see the wiki"}, ca_file="ca"),
    kept("ca_file of another, and trusted_certs right", True, ROOT.pem, files={"ca": OTHER.pem}, ca_file="ca"),
    kept("the system's", True, None, files={SYSTEM: ROOT.pem}),
    kept("the system's and a ca_file", True, None, files={SYSTEM: ROOT.pem, "ca": OTHER.pem}, ca_file="ca"),
    kept("the system's, and a client with its own", False, None, files={SYSTEM: ROOT.pem, STORE: OTHER.pem} | CHEF),
    kept("the system's, and a client with an empty one", False, None, files={SYSTEM: ROOT.pem} | CHEF),
    kept("the client's own", True, None, files={STORE: OTHER.pem + ROOT.pem} | CHEF),
    kept("the client's own, by hash", True, None, files={STORE: OTHER.pem, BY_HASH: ROOT.pem} | CHEF),
    kept("the client's own and trusted_certs", True, ROOT.pem, files={STORE: OTHER.pem} | CHEF),
    kept("the client's own and a ca_file", True, None, files={STORE: OTHER.pem, "ca": ROOT.pem} | CHEF, ca_file="ca"),
    kept("what a client has left that is gone", False, None, files={STORE: ROOT.pem, SYSTEM: OTHER.pem}),
    kept("Cinc's own", True, None, files={STORE.replace("chef", "cinc"): ROOT.pem} | CINC),
    kept("Cinc's own, and Chef's is there", False, None,
         files={STORE.replace("chef", "cinc"): ROOT.pem, STORE: OTHER.pem} | CINC | CHEF),
    kept("Chef's own, and Cinc's is there", True, None, files={STORE: ROOT.pem} | CINC | CHEF),
    kept("Chef's own, and Cinc alone is there", False, None, files={STORE: ROOT.pem} | CINC),
    kept("Cinc's trusted_certs for Cinc", True, None, files={f"{CINCS}/ca.pem": ROOT.pem} | CINC),
    kept("Chef's trusted_certs for Cinc", False, None, files={f"{OURS}/ca.pem": ROOT.pem} | CINC),
    kept("Cinc's trusted_certs for Chef", False, None, files={f"{CINCS}/ca.pem": ROOT.pem} | CHEF),
]  # fmt: skip

STRICTER = [
    # Root's runs may do without verification, as cloud-init's default has it. We never say `ok` of a server that we
    # could not know, since runs are sent there on our word.
    Case("ssl_verify_mode :verify_none", True, more={"verify": False}, is_stricter=True),
    # ssl_client_key is root's, and a probe has no business with it.
    kept("a front that wants ssl_client_cert", True, ROOT.pem, files={"client": LEAF.whole}, more={"client": "client"},
         server={"verify_mode": ssl.CERT_REQUIRED}, is_stricter=True),
]  # fmt: skip

X = f"{OURS}/x.pem"
CLOSED = {"modes": {"etc/chef": 0o600}}
EXPIRED = leaf(san=dns(HOST), valid=(-2 * DAY, -DAY))
IN_STORE = {STORE: ROOT.pem} | CHEF
OTHER_IN_STORE = {STORE: OTHER.pem} | CHEF
MODES = [
    kept("/etc/chef closed, the CA in the store", True, OTHER.pem, files=IN_STORE, **CLOSED),
    kept("/etc/chef closed, the CA in ca_file", True, OTHER.pem, files={"ca": ROOT.pem}, ca_file="ca", **CLOSED),
    kept("/etc/chef closed, the CA in it", True, ROOT.pem, **TROUBLE, **CLOSED),
    kept("/etc/chef closed, the CA in it, and expired", False, ROOT.pem, made=EXPIRED, **TROUBLE, **CLOSED),
    kept("/etc/chef closed, and expired", False, OTHER.pem, made=EXPIRED, files=IN_STORE, **CLOSED),
    kept("/etc/chef closed, and another's name", False, OTHER.pem, host="b.example.com", files=IN_STORE, **CLOSED),
    kept("trusted_certs closed", True, ROOT.pem, modes={OURS: 0o600}, **TROUBLE),
    kept("trusted_certs without a list", True, ROOT.pem, modes={OURS: 0o300}, **TROUBLE),
    kept("the certificate closed", True, ROOT.pem, modes={f"{OURS}/ca.pem": 0o200}, **TROUBLE),
    kept("another certificate closed", True, ROOT.pem, files={X: OTHER.pem}, modes={X: 0o200}),
    kept("ca_file closed", True, None, files={"ca": ROOT.pem}, ca_file="ca", modes={"ca": 0o200}, **TROUBLE),
    kept("the client's own closed", True, None, files=IN_STORE, modes={"opt/chef/embedded": 0o600}, **TROUBLE),
    kept("/opt/chef closed, another's CA in it", True, ROOT.pem, files=OTHER_IN_STORE, modes={"opt/chef": 0o600}),
]
CASES = NAMES + CHAINS + FORMS + STORES + STRICTER + MODES


# --- where they are tried ---------------------------------------------------------------------------------------------


class Front:
    """A Chef server's front with that certificate, which says that all is well."""

    def __init__(self, made, folder, **settings):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (folder / "server.pem").write_bytes(made.whole)
        self._context.set_ciphers(settings.pop("ciphers", "DEFAULT"))
        self._context.load_cert_chain(folder / "server.pem")
        self._context.load_verify_locations(cadata=ROOT.der)  # for certificates of clients
        for name, value in settings.items():
            setattr(self._context, name, value)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=(self._listening.accept()[0],), daemon=True).start()

    def _answer(self, plain):
        with contextlib.suppress(OSError), self._context.wrap_socket(plain, server_side=True) as channel:
            while channel.recv(65536):
                channel.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(STATUS), STATUS))


@contextlib.contextmanager
def as_service(root):
    """As somebody without rights, as the service is; others than root are that already."""
    if os.geteuid():
        yield
        return
    for directory in root.parents[:-1]:
        if directory.stat().st_uid == 0:
            directory.chmod(directory.stat().st_mode | 0o011)
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def build(case, root):
    for name, content in (case.files | {f"{OURS}/{name}": content for name, content in case.trusts.items()}).items():
        path = root / (name.replace("HASH", _hash(content)) if name == BY_HASH else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for path, target in case.links.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to(root / target)


def _hash(pem):
    command = [require_program("openssl", "openssl"), "x509", "-noout", "-hash"]
    return subprocess.run(command, input=pem, capture_output=True, check=True).stdout.decode().strip()


def asked_of_ruby(case, root, port):
    has_own = {"chef": CHEF, "cinc": CINC}[case.product].keys() <= case.files.keys()
    certs = root / f"opt/{case.product}/embedded/ssl/certs"
    default = {"SSL_CERT_FILE": certs / "cacert.pem", "SSL_CERT_DIR": certs}
    if not has_own:
        default = {"SSL_CERT_FILE": root / SYSTEM, "SSL_CERT_DIR": root / "nowhere"}
    more = {name: str(root / value) if isinstance(value, str) else value for name, value in case.more.items()}
    return more | {
        "host": case.host,
        "port": port,
        "ca_file": case.ca_file and str(root / case.ca_file),
        "trusted_certs": str(root / f"etc/{case.product}/trusted_certs"),
        "env": {name: str(path) for name, path in default.items()},
    }


def ask_ruby(cases):
    command = [require_program("ruby", "ruby"), str(RUBY)]
    ran = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True, check=False, timeout=60)
    if "cannot load such file -- chef-config" in ran.stderr:
        missing_part("Ruby has no chef-config (package ruby-chef-config)")
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """For each case by name its root, its server's port, and what Ruby says."""
    folder = tmp_path_factory.mktemp("zoo")
    folder.chmod(0o755)
    ssl.cert_time_to_seconds("Jan  1 00:00:00 2030 GMT")  # imports something, which the service may not be able to
    fronts, found = {}, {}
    for number, case in enumerate(CASES):
        root = folder / str(number)
        root.mkdir(mode=0o755)
        build(case, root)
        kind = (id(case.made), str(case.server))
        if kind not in fronts:
            fronts[kind] = Front(case.made, root, **case.server)
        found[case.name] = root, fronts[kind].port
    asked = [asked_of_ruby(case, *found[case.name]) for case in CASES]
    said = ask_ruby(asked)
    yield {name: (*where, words) for (name, where), words in zip(found.items(), said, strict=True)}
    for front in fronts.values():
        front.close()


def test_the_cases_have_names_of_their_own():
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_we_say_of_a_server_what_ruby_does(zoo, monkeypatch, case):
    root, port, ruby = zoo[case.name]
    assert (ruby == "ok") is case.works, ruby
    monkeypatch.setenv("SSL_CERT_FILE", str(root / SYSTEM))
    monkeypatch.setenv("SSL_CERT_DIR", str(root / "nowhere"))
    for path, mode in case.modes.items():
        (root / path).chmod(mode)
    url = f"https://[{case.host}]:{port}" if ":" in case.host else f"https://{case.host}:{port}"
    loopback = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))
    target = Target(url, 30.0, root / case.ca_file if case.ca_file else None)
    server = ChefServer(target, Resolver(lambda *_: [loopback]), TrustStore(root=root, which=lambda _: None))
    with as_service(root) if case.modes else contextlib.nullcontext():
        result = Prober(server, signer=lambda: None).probe()
    assert result.is_node_trouble is case.is_node_trouble, result.detail
    if case.is_stricter:
        assert not result.outcome.is_alive
    else:
        is_well = case.works and not case.is_node_trouble
        assert result.outcome is (Outcome.OK if is_well else Outcome.TLS), (result, ruby)


# --- proxies ----------------------------------------------------------------------------------------------------------

PROXY = {"https_proxy": "http://proxy:3128"}
DIRECT = "direct"
THERE = ["proxy", 3128, None]
FAILS = "fails"
PROXIES = [
    ({}, HOST, DIRECT),
    (PROXY, HOST, THERE),
    ({"https_proxy": ""}, HOST, DIRECT),
    ({"https_proxy": "  "}, HOST, DIRECT),
    ({"https_proxy": " http://proxy:3128\n"}, HOST, THERE),
    ({"HTTPS_PROXY": "http://proxy:3128"}, HOST, DIRECT),
    ({"https_proxy": "http://proxy:3128", "HTTPS_PROXY": "http://other:1"}, HOST, THERE),
    ({"all_proxy": "http://proxy:3128"}, HOST, DIRECT),
    ({"http_proxy": "http://proxy:3128"}, HOST, DIRECT),
    ({"https_proxy": "proxy:3128"}, HOST, THERE),
    ({"https_proxy": "proxy"}, HOST, ["proxy", 443, None]),
    ({"https_proxy": "http://proxy"}, HOST, ["proxy", 80, None]),
    ({"https_proxy": "https://proxy"}, HOST, ["proxy", 443, None]),
    ({"https_proxy": "https://proxy:3128"}, HOST, THERE),
    ({"https_proxy": "HTTP://proxy:3128"}, HOST, THERE),
    ({"https_proxy": "HTTPS://proxy"}, HOST, ["proxy", 443, None]),
    ({"https_proxy": "socks5://proxy:1080"}, HOST, ["proxy", 1080, None]),
    ({"https_proxy": "socks5://proxy"}, HOST, ["proxy", 80, None]),
    ({"https_proxy": "http://proxy:3128/"}, HOST, THERE),
    ({"https_proxy": "http://proxy:3128/path?query"}, HOST, THERE),
    ({"https_proxy": "http://proxy:/"}, HOST, ["proxy", 80, None]),
    ({"https_proxy": "http://my_proxy:3128"}, HOST, ["my_proxy", 3128, None]),
    ({"https_proxy": "10.0.0.1:3128"}, HOST, ["10.0.0.1", 3128, None]),
    ({"https_proxy": "http://[::1]:3128"}, HOST, FAILS),
    ({"https_proxy": "http://pro xy:3128"}, HOST, FAILS),
    ({"https_proxy": "http://user:pass@proxy:3128"}, HOST, ["proxy", 3128, "user:pass"]),
    ({"https_proxy": "user:pass@proxy:3128"}, HOST, ["proxy", 3128, "user:pass"]),
    ({"https_proxy": "http://user@proxy:3128"}, HOST, ["proxy", 3128, "user:"]),
    ({"https_proxy": "http://us%40er:p%3Ass@proxy:3128"}, HOST, ["proxy", 3128, "us%40er:p%3Ass"]),
    *(
        (PROXY | {"no_proxy": exceptions}, host, DIRECT if is_direct else THERE)
        for exceptions, host, is_direct in [
            (HOST, HOST, True),
            ("example.com", HOST, True),
            (".example.com", HOST, True),
            (".example.com", "example.com", False),
            ("*.example.com", HOST, True),
            ("*.example.com", "example.com", False),
            ("**.example.com", "example.com", True),
            ("**.example.com", HOST, True),
            ("*example.com", "myexample.com", True),
            ("ample.com", HOST, True),
            ("chef", HOST, False),
            ("chef.*", HOST, False),
            ("*", HOST, True),
            ("", HOST, False),
            (",", HOST, False),
            ("a,", HOST, False),
            (",a", HOST, True),
            ("a,,b", HOST, True),
            ("a, ,b", HOST, True),
            (" ", HOST, False),
            ("a,example.com", HOST, True),
            ("a , example.com , b", HOST, True),
            (" example.com", HOST, False),
            ("example.com ", HOST, False),
            ("a example.com", HOST, False),
            ("Example.com", HOST, False),
            ("example.com", "chef.EXAMPLE.com", False),
            (f"{HOST}:443", HOST, False),
            (f"https://{HOST}", HOST, False),
            ("10.0.0.0/8", "10.0.0.1", False),
            ("10.0.0.1", "10.0.0.1", True),
            ("0.0.1", "10.0.0.1", True),
            ("localhost", "localhost", True),
        ]
    ),
    (PROXY | {"NO_PROXY": HOST}, HOST, THERE),
    ({"no_proxy": HOST}, HOST, DIRECT),
]


@contextlib.contextmanager
def listening_proxy(heads):
    """A proxy that lets nobody through, and keeps what it is asked."""

    def serve():
        with contextlib.suppress(OSError):
            while True:
                channel = listening.accept()[0]
                with channel:
                    heads.append(channel.recv(65536).decode().partition("\r\n\r\n")[0].split("\r\n"))
                    channel.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def test_a_proxy_is_asked_for_the_same_by_us_and_ruby(tmp_path, monkeypatch):
    heads = []
    with listening_proxy(heads) as port:
        forms = ("{}", "http://{}", "https://{}", "http://us%40er:p%3Ass@{}", "http://user@{}")
        proxies = [form.format(f"127.0.0.1:{port}") for form in forms]
        one = {"host": "127.0.0.1", "port": 4443, "trusted_certs": str(tmp_path)}
        assert all("403" in said for said in ask_ruby([one | {"env": {"https_proxy": proxy}} for proxy in proxies]))
        monkeypatch.setenv("no_proxy", "example.org")
        target = Target("https://127.0.0.1:4443", 30.0, uses_environment_proxy=True)
        server = ChefServer(target, Resolver(), TrustStore(root=tmp_path, which=lambda _: None))
        for proxy in proxies:
            monkeypatch.setenv("https_proxy", proxy)
            result = Prober(server, signer=lambda: None).probe()
            assert (result.outcome, result.detail) == (Outcome.REFUSED, "the proxy cannot connect to the server")
    asked = [(*head[0].split()[:2], *(line for line in head if "Authorization" in line)) for head in heads]
    assert asked[len(forms) :] == asked[: len(forms)]
    assert {one[:2] for one in asked} == {("CONNECT", "127.0.0.1:4443")}


@pytest.mark.parametrize("host", ["chef_a.example.com", "::1", "2001:db8::1"])
def test_what_fuzzyurl_cannot_read_goes_through_the_proxy(host):
    """With Chef 19's chef-config; those before it fail there."""
    assert proxy_for(host, PROXY | {"no_proxy": f"{host},*"}) == "http://proxy:3128"


@pytest.fixture(scope="module")
def routes_of_ruby():
    return ask_ruby([{"env": env, "host": host, "port": 443} for env, host, _ in PROXIES])


@pytest.mark.parametrize("number", range(len(PROXIES)), ids=lambda number: " ".join(map(repr, PROXIES[number])))
def test_the_proxy_is_the_one_that_ruby_goes_through(routes_of_ruby, number):
    env, host, route = PROXIES[number]
    ruby = routes_of_ruby[number]
    assert ruby == route or (route == FAILS and "Error" in ruby), ruby
    if route == FAILS:
        with pytest.raises(ValueError, match="chef-client cannot use the https_proxy of the environment"):
            proxy_for(host, env)
        return
    found = proxy_for(host, env)
    assert (found is None) is (route == DIRECT)
    if found:
        parts = urlsplit(found)
        given = parts.netloc.rpartition("@")[0]
        assert (parts.scheme, [parts.hostname, parts.port, unquote(given) or None]) == ("http", route)
