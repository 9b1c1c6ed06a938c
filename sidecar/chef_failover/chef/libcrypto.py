"""I/O: the node's RSA key, in the OpenSSL that this process already has in memory for TLS.

A key pair and signatures are all we need, and the cryptography package costs 9 MB of every node's memory for them: it
brings an OpenSSL of its own. The system's is there anyway, gets its fixes from the distribution, and is the validated
one where FIPS mode is on. Only its EVP interface is used, which keeps the arithmetic and its timing to itself.

Sources: EVP_DigestSign(3), EVP_PKEY_sign(3), PEM_read_bio_PrivateKey(3) of OpenSSL 3.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Callable, Iterator
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from typing import Self

from chef_failover.errors import KeyFileError

_LIBRARIES = ("libcrypto.so.3", "libcrypto.3.dylib")
_PROTOTYPES = {
    "BIO_new_mem_buf": (c_void_p, c_char_p, c_int),
    "BIO_free": (c_int, c_void_p),
    "BIO_s_mem": (c_void_p,),
    "BIO_new": (c_void_p, c_void_p),
    "BIO_ctrl_pending": (c_size_t, c_void_p),
    "BIO_read": (c_int, c_void_p, c_char_p, c_int),
    "PEM_read_bio_PrivateKey": (c_void_p, c_void_p, c_void_p, c_void_p, c_char_p),
    "PEM_write_bio_PrivateKey": (c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_int, c_void_p, c_void_p),
    "PEM_write_bio_PUBKEY": (c_int, c_void_p, c_void_p),
    "EVP_PKEY_Q_keygen": (c_void_p, c_void_p, c_void_p, c_char_p, c_size_t),
    "EVP_PKEY_free": (None, c_void_p),
    "EVP_PKEY_is_a": (c_int, c_void_p, c_char_p),
    "EVP_sha256": (c_void_p,),
    "EVP_MD_CTX_new": (c_void_p,),
    "EVP_MD_CTX_free": (None, c_void_p),
    "EVP_DigestSignInit": (c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p),
    "EVP_DigestSign": (c_int, c_void_p, c_char_p, c_void_p, c_char_p, c_size_t),
    "EVP_PKEY_CTX_new": (c_void_p, c_void_p, c_void_p),
    "EVP_PKEY_CTX_free": (None, c_void_p),
    "EVP_PKEY_sign_init": (c_int, c_void_p),
    "EVP_PKEY_CTX_set_rsa_padding": (c_int, c_void_p, c_int),
    "EVP_PKEY_sign": (c_int, c_void_p, c_char_p, c_void_p, c_char_p, c_size_t),
    "ERR_clear_error": (None,),
}
_PKCS1_PADDING = 1


class PrivateKey:
    """An RSA private key."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """The key in PEM text, PKCS#1 or PKCS#8, without a passphrase.

        Raises:
            ValueError: it is no such key. Nothing of the key is in the message.
            KeyFileError: this machine has no OpenSSL 3.
        """
        ssl = _library()
        with _owned(ssl.BIO_new_mem_buf(pem, len(pem)), ssl.BIO_free) as source:
            # The last argument is tried as the passphrase; without one, OpenSSL would ask the terminal.
            handle = ssl.PEM_read_bio_PrivateKey(source, None, None, b"")
        if handle:
            key = cls(handle)
            with contextlib.suppress(ValueError):  # a damaged key may load, and is found out when it signs
                if ssl.EVP_PKEY_is_a(handle, b"RSA") and key.sign_sha256(b""):
                    return key
        ssl.ERR_clear_error()
        raise ValueError("not an RSA private key in PEM format without a passphrase")

    @classmethod
    def generate(cls, bits: int = 2048) -> Self:
        """A new key."""
        handle = _library().EVP_PKEY_Q_keygen(None, None, b"RSA", bits)
        _check(1 if handle else 0)
        return cls(handle)

    def __del__(self) -> None:
        _library().EVP_PKEY_free(self._handle)

    def private_pem(self) -> bytes:
        """The key itself, PKCS#8, not encrypted."""
        ssl = _library()
        return _text(lambda out: ssl.PEM_write_bio_PrivateKey(out, self._handle, None, None, 0, None, None))

    def public_pem(self) -> bytes:
        """Its public half, as a Chef server takes it."""
        return _text(lambda out: _library().PEM_write_bio_PUBKEY(out, self._handle))

    def sign_sha256(self, message: bytes) -> bytes:
        """PKCS#1 v1.5 with SHA-256."""
        ssl = _library()
        with _owned(ssl.EVP_MD_CTX_new(), ssl.EVP_MD_CTX_free) as context:
            _check(ssl.EVP_DigestSignInit(context, None, ssl.EVP_sha256(), None, self._handle))
            return _fill(lambda out, size: ssl.EVP_DigestSign(context, out, size, message, len(message)))

    def sign_bare(self, message: bytes) -> bytes:
        """PKCS#1 v1.5 padding around the message itself, with no digest: what Ruby calls private_encrypt."""
        ssl = _library()
        with _owned(ssl.EVP_PKEY_CTX_new(self._handle, None), ssl.EVP_PKEY_CTX_free) as context:
            _check(ssl.EVP_PKEY_sign_init(context))
            _check(ssl.EVP_PKEY_CTX_set_rsa_padding(context, _PKCS1_PADDING))
            return _fill(lambda out, size: ssl.EVP_PKEY_sign(context, out, size, message, len(message)))


@functools.cache
def _library() -> ctypes.CDLL:
    for name in _LIBRARIES:
        with contextlib.suppress(OSError):
            library = ctypes.CDLL(name)
            for function, (result, *arguments) in _PROTOTYPES.items():
                getattr(library, function).restype = result
                getattr(library, function).argtypes = arguments
            return library
    raise KeyFileError("cannot sign requests: OpenSSL 3 (libcrypto.so.3) is not installed")


@contextlib.contextmanager
def _owned(pointer: int | None, free: Callable[[int], object]) -> Iterator[int]:
    if not pointer:
        raise MemoryError
    try:
        yield pointer
    finally:
        free(pointer)


def _fill(call: Callable[[ctypes.Array[ctypes.c_char] | None, object], int]) -> bytes:
    """OpenSSL's way to give bytes: asked without a place for them, it tells how many there may be."""
    size = c_size_t()
    _check(call(None, byref(size)))
    out = ctypes.create_string_buffer(size.value)
    _check(call(out, byref(size)))
    return out.raw[: size.value]


def _text(write: Callable[[int], int]) -> bytes:
    ssl = _library()
    with _owned(ssl.BIO_new(ssl.BIO_s_mem()), ssl.BIO_free) as sink:
        _check(write(sink))
        out = ctypes.create_string_buffer(ssl.BIO_ctrl_pending(sink))
        ssl.BIO_read(sink, out, len(out))
        return out.raw


def _check(result: int) -> None:
    if result != 1:
        _library().ERR_clear_error()
        raise ValueError("OpenSSL rejects this key")
