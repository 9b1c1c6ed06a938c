"""Pure: every error that a person may see, in one small tree."""

from __future__ import annotations

import attrs


class ChefFailoverError(Exception):
    """Anything that we say ourselves. The message names what is wrong and what would be right."""

    exit_code = 1


class KeyFileError(ChefFailoverError):
    """A private key cannot be used: missing, unreadable, not RSA. ``is_passing`` when it may work a while later."""

    def __init__(self, message: str, *, is_passing: bool = False) -> None:
        super().__init__(message)
        self.is_passing = is_passing


class IdentityError(ChefFailoverError):
    """The node's name cannot be found out."""


class SidecarUnavailableError(ChefFailoverError):
    """Nobody answered on the sidecar's socket."""


class AlreadyRunningError(ChefFailoverError):
    """Another sidecar answers on the socket that we were to open."""


class ListenError(ChefFailoverError):
    """A listener cannot be opened: a path or a port that is taken, or that we may not use."""


@attrs.frozen
class Problem:
    """One thing wrong in a configuration file. ``line`` counts from 1; ``key`` is like ``servers[1].url``."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}"
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


class ConfigError(ChefFailoverError):
    """The configuration is wrong; ``problems`` has everything that is, in the order of the file."""

    exit_code = 2

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems
