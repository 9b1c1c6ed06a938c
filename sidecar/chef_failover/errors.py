"""Pure: every error that a person may see, in one small tree, and the exit codes they end in. 0 is yes."""

from __future__ import annotations

import attrs

EXIT_NO = 1
"""Unhealthy, not associated, refused."""
EXIT_USAGE = 2
"""Of the command line, or the configuration."""
EXIT_BUG = 3
EXIT_INTERRUPTED = 130


class ChefFailoverError(Exception):
    """Anything that we say ourselves. The message names what is wrong and what would be right."""

    exit_code = EXIT_NO

    @property
    def lines(self) -> tuple[str, ...]:
        """The message, in parts that each get a line. What others wrote in it may hold line breaks of its own."""
        return (str(self),)


class KeyFileError(ChefFailoverError):
    """A private key cannot be used: missing, unreadable, not RSA. ``is_passing`` when it may work a while later.

    ``is_throttled``: the service that keeps it takes no more requests for now.
    """

    def __init__(self, message: str, *, is_passing: bool = False, is_throttled: bool = False) -> None:
        super().__init__(message)
        self.is_passing = is_passing
        self.is_throttled = is_throttled


class ValidatorKeyError(KeyFileError):
    """The validator's key is unavailable."""


class MetadataError(ChefFailoverError):
    """EC2's metadata service does not say what we ask."""


class IdentityError(ChefFailoverError):
    """The node's name cannot be found out."""


class NotAcceptedError(ChefFailoverError):
    """A configuration is not accepted, or what was accepted cannot be used."""


class SealError(ChefFailoverError):
    """This node is not to be sealed, or could not be in whole."""


class CredentialsError(ChefFailoverError):
    """What the command line or ``~/.chef/credentials`` says of an account on a Chef server cannot be used."""

    exit_code = EXIT_USAGE


class SearchError(ChefFailoverError):
    """A Chef server did not give or do what it was asked. ``is_of_object``: that tells nothing of other objects."""

    def __init__(self, message: str, *, is_of_object: bool = False) -> None:
        super().__init__(message)
        self.is_of_object = is_of_object


class SidecarUnavailableError(ChefFailoverError):
    """Nobody answered on the sidecar's socket."""


class SocketForbiddenError(SidecarUnavailableError):
    """This user may not ask on the sidecar's socket; nothing is known of the sidecar by that."""


class UnseenError(ChefFailoverError):
    """A check cannot see what it is about, from here or as this user."""


class RefusedError(ChefFailoverError):
    """A person has asked for something that makes no sense as things are, unless it is forced."""


class AlreadyRunningError(ChefFailoverError):
    """Another sidecar has the state directory or the socket that we were to use."""

    exit_code = EXIT_USAGE


class ListenError(ChefFailoverError):
    """A listener cannot be opened: a path or a port that is taken, or that we may not use."""


class AwsError(ChefFailoverError):
    """An AWS call that did not work.

    ``code`` is the service's own ("AccessDeniedException"), or for what happened on the way to it one of NoCredentials,
    Unreachable, Timeout, GarbageReply, Broken and Misconfigured. ``status`` is that of HTTP, 0 without an answer.
    """

    def __init__(self, code: str, message: str, status: int = 0) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.status = status

    @property
    def is_throttled(self) -> bool:
        """The account asks too much at once, most likely this whole fleet together."""
        return self.status == 429 or self.code in _THROTTLING

    @property
    def is_about_credentials(self) -> bool:
        """This node has none, or the service takes them for wrong or expired: a clock that is off looks like that."""
        return self.code in _CREDENTIALS

    @property
    def is_passing(self) -> bool:
        """The same call may work later without any action. Roles and clocks, too, come late on a new node."""
        return self.is_throttled or self.is_about_credentials or self.status >= 500 or self.code in _PASSING


# botocore/retries/standard.py names the same.
_THROTTLING = frozenset(
    {
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_CREDENTIALS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "NoCredentials",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "UnrecognizedClientException",
    }
)
_PASSING = frozenset(
    {
        "Broken",
        "GarbageReply",
        "InternalServiceError",
        "InvalidStateException",
        "RequestTimeout",
        "Timeout",
        "Unreachable",
    }
)


@attrs.frozen
class Problem:
    """One thing wrong in a configuration file. ``key`` is like ``servers[1].url``.

    ``line`` counts from 1; 0 is the whole file, which cannot be read.
    """

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


class ConfigError(ChefFailoverError):
    """The configuration is wrong; ``problems`` has everything that is, in the order of the file."""

    exit_code = EXIT_USAGE

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems

    @property
    def lines(self) -> tuple[str, ...]:
        """One for each problem."""
        return tuple(map(str, self.problems))
