"""Pure: an HTTP request and its response, as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

Headers = tuple[tuple[str, str], ...]


@attrs.frozen
class Request:
    """What arrived. ``target`` is the path with its query, as sent; the names of ``headers`` are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path as it was signed: without the query, not decoded."""
        return self.target.partition("?")[0]

    @property
    def user(self) -> str:
        """The client who says that he signed it; empty when nobody does."""
        return self.headers.get("x-ops-userid", "")

    @property
    def segments(self) -> tuple[str, ...]:
        """The parts of the path, which no Chef server decodes: ``/nodes/web%3A1`` is ("nodes", "web%3A1")."""
        return tuple(part for part in self.path.split("/") if part)


@attrs.frozen
class Response:
    """What to answer. ``headers`` is without Content-Length and Date."""

    status: int
    body: bytes = b""
    headers: Headers = ()

    def having(self, *headers: tuple[str, str]) -> Response:
        """The same with more headers."""
        return attrs.evolve(self, headers=self.headers + headers)


def json_response(status: int, content: Mapping[str, Any]) -> Response:
    """A JSON answer, as erchef gives it."""
    return Response(
        status, json.dumps(content, separators=(",", ":")).encode(), (("Content-Type", "application/json"),)
    )


def error_response(status: int, message: str) -> Response:
    """Chef's usual error: a list with one sentence."""
    return json_response(status, {"error": [message]})


def internal_error() -> Response:
    """500: what erchef says of whatever goes wrong in it."""
    return error_response(500, "internal service error")


def html_response(status: int, title: str) -> Response:
    """A page for people, as nginx and captive portals give it."""
    page = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return Response(status, page.encode(), (("Content-Type", "text/html"),))
