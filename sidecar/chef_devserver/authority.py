"""I/O: a throw-away certificate authority; it draws keys and reads the clock, and keeps everything in memory.

The certificates are as RFC 5280 wants them (key identifiers, key usage, basic constraints): strict verifiers, such as
the default of Python 3.13, refuse anything less. Keys are P-256, because drawing one takes no noticeable time.
"""

from __future__ import annotations

import datetime
import enum
import ipaddress
from collections.abc import Callable, Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = datetime.timedelta(days=1)
_OURS: tuple[x509.GeneralName, ...] = (
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
)


class CertificateKind(enum.Enum):
    """What is right or wrong with a server's certificate."""

    VALID = "valid"
    EXPIRED = "expired"
    WRONG_NAME = "wrong name"


class Authority:
    """A certificate authority that nobody trusts unless told to. ``ca_pem`` is what to trust."""

    def __init__(
        self,
        name: str = "chef-failover demo authority",
        utc_now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._utc_now = utc_now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self._key_identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        now = utc_now()
        ca = self._sign(
            self._name,
            self._key.public_key(),
            valid=(now - 365 * _DAY, now + 3650 * _DAY),
            critical=(x509.BasicConstraints(ca=True, path_length=0), _usage(signs_certificates=True)),
            extensions=(self._key_identifier,),
        )
        self.ca_pem = ca.public_bytes(serialization.Encoding.PEM)

    def certificate(self, kind: CertificateKind = CertificateKind.VALID) -> tuple[bytes, bytes]:
        """A new server certificate and its key, both PEM.

        It is for localhost, 127.0.0.1 and ::1, except that WRONG_NAME is for ``elsewhere.example.com``; EXPIRED ran out
        a day ago.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        now = self._utc_now()
        wrong_name = kind is CertificateKind.WRONG_NAME
        until = now - _DAY if kind is CertificateKind.EXPIRED else now + 90 * _DAY
        certificate = self._sign(
            _name("elsewhere.example.com" if wrong_name else "localhost"),
            key.public_key(),
            valid=(now - 30 * _DAY, until),
            critical=(x509.BasicConstraints(ca=False, path_length=None), _usage(signs_certificates=False)),
            extensions=(
                x509.SubjectAlternativeName([x509.DNSName("elsewhere.example.com")] if wrong_name else _OURS),
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._key_identifier),
            ),
        )
        key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM), key_pem

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        *,
        valid: tuple[datetime.datetime, datetime.datetime],
        critical: Iterable[x509.ExtensionType],
        extensions: Iterable[x509.ExtensionType],
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number(), *valid)
        for extension in critical:
            builder = builder.add_extension(extension, critical=True)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
