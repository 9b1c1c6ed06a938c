"""Pure: what an HTTP answer says about a Chef server.

A 2xx alone proves nothing: nginx before a Chef server answers 200 with a welcome page to whatever it does not know,
goiardi answers 200 with nothing to any signed path, and a captive portal answers 200 to everything. So a success must
be something that only a Chef server says: its status document, its refusal of an unsigned request, or what was asked
for. What a 404 means is told by what was asked for and what of that the answer names: each server has words of its own.

nginx before a Chef server turns its own 502 and 504 into its page for 404, so that page means that what is behind does
not answer. It says the same to an organization whose name cannot be one.

Sources: github.com/chef/chef-server oc_chef_wm_base.erl, chef_wm_status.erl, chef_wm_named_client.erl,
chef_wm_named_principal.erl, oc_chef_wm_named_policy_group.erl, chef_wm_cookbooks.erl, oc_chef_wm_acl.erl,
dispatch.lua, nginx_chef_api_lb.conf.erb; goiardi 0.11.10 as it runs.
"""

from __future__ import annotations

import datetime
import email.utils
import functools
import json
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import attrs

from chef_failover.chef import limits
from chef_failover.model.model import Outcome
from chef_failover.printable import printable

NEEDED_UPSTREAMS = ("chef_sql", "oc_chef_authz")
"""The upstreams without which a Chef server does nothing."""
SPARE_UPSTREAMS = ("data_collector", "oc_chef_action")
"""Those that harm no run. What is neither is the search index, by one of its names: it fails a run's last request."""
AUTH_SKEW_S = 900.0
"""How far a Chef server lets the clocks be apart, unless it is told otherwise."""
_ORGANIZATION = re.compile(r"/organizations/([^/]+)/")
_ORGANIZATION_NAME = re.compile(r"[a-z0-9_-]+")
_API_VERSION = "x-ops-server-api-version"
"""The header that erchef sends and no nginx."""
_OWN_PAGE = re.compile(rb"<title>\s*(Chef|Opscode)\b")
"""How nginx's pages in a Chef server's package begin."""
_COOKBOOK = re.compile(rf"[A-Za-z0-9_.-]{{1,{limits.COOKBOOK_CHARACTERS}}}")
_NUMBER = rf"[0-9]{{1,{limits.VERSION_DIGITS}}}"
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}(\.{_NUMBER})?")


@attrs.frozen
class Answer:
    """One HTTP answer. ``headers`` has lower-case names; ``path`` is the one that was asked for, without escapes."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    path: str = ""

    @property
    def organization(self) -> str | None:
        """The organization that was asked; None where the server has none."""
        found = _ORGANIZATION.match(self.path)
        return found[1] if found else None

    @property
    def kind(self) -> str:
        """What kind of object was asked for, as the path has it: nodes, environments, policy_groups."""
        return self.path.rpartition("/")[0].rpartition("/")[2]

    @functools.cached_property
    def document(self) -> dict[str, Any] | None:
        """The body if it is a JSON object, else None."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):  # the latter for a million opening brackets
            return None
        return value if isinstance(value, dict) else None

    @property
    def fields(self) -> dict[str, Any]:
        """What the body has as a JSON object, and nothing if it is none."""
        return self.document or {}

    @property
    def error(self) -> str:
        """The sentence in Chef's ``error``, which is that or a list of one; empty where the body has no ``error``."""
        if "error" not in self.fields:
            return ""
        error = self.fields["error"]
        text = error[0] if isinstance(error, list) and error else error
        return text if text and isinstance(text, str) else "no reason given"

    def is_object(self, name: str) -> bool:
        """Whether it is the object ``name``, which was asked for."""
        return self.status == 200 and self.fields.get("name") == name


@attrs.frozen
class Finding:
    """What an answer proves, as an outcome and as words for people."""

    outcome: Outcome
    detail: str = ""
    """Empty when there is nothing to say but that it answers."""
    has_node_object: bool = True
    """Only what was asked for the node's object can tell."""
    index_fails: bool | None = None
    """Whether the search index fails; only a status page can tell."""


def judge_status(answer: Answer) -> Finding | None:
    """The answer to ``GET /_status``; None when this server has no such path."""
    upstreams = answer.fields.get("upstreams")
    if isinstance(upstreams, dict) and answer.status in (200, 500):
        return _judge_upstreams(upstreams, is_well=answer.status == 200)
    if answer.status == 200 and answer.fields.get("status") == "pong":
        return Finding(Outcome.OK)
    if answer.status == 404 and not is_own_page(answer):
        return None
    return _judge_unsigned(answer)


def _judge_upstreams(upstreams: Mapping[str, object], *, is_well: bool) -> Finding:
    failing = sorted(name for name, state in upstreams.items() if state != "pong")
    index = [name for name in failing if name not in (*NEEDED_UPSTREAMS, *SPARE_UPSTREAMS)]
    named, index_named = printable(", ".join(failing)), printable(", ".join(index))
    if any(upstreams.get(name) != "pong" for name in NEEDED_UPSTREAMS):
        words = f"its status page reports failures: {named or 'unnamed'}"
        return Finding(Outcome.SERVER_ERROR, words, index_fails=bool(index))
    if index:
        words = f"answers, but its search index fails ({index_named}), so every run fails when it saves the node"
        return Finding(Outcome.DEGRADED, words, index_fails=True)
    if failing:
        return Finding(Outcome.OK, f"answers; its status page reports {named}, which no run needs", index_fails=False)
    words = "" if is_well else "answers, but its status page reports a failure"
    return Finding(Outcome.OK if is_well else Outcome.DEGRADED, words, index_fails=False)


def judge_api_version(answer: Answer) -> Finding:
    """The answer to ``GET /server_api_version``."""
    if answer.status == 200 and "min_api_version" in answer.fields:
        return Finding(Outcome.OK)
    return _judge_unsigned(answer)


def judge_principal(answer: Answer, name: str) -> Finding | None:
    """The answer to an unsigned ``GET`` of the principal ``name``; None when this server has no such path."""
    if (answer.status == 200 and _principals(answer, name)) or _is_missing(answer, name):
        return Finding(Outcome.OK)
    if answer.status == 404 and not _lacks_organization(answer):
        return None
    return _judge_unsigned(answer)


def key_of_principal(answer: Answer, name: str) -> str | None:
    """The public key, in PEM, by which the answer to a ``GET`` of the principal ``name`` knows that client.

    Empty when there is no such client; None when the answer does not tell, or has the key in another form than ours.
    """
    if answer.status != 200 or answer.document is None:
        return "" if _is_missing(answer, name) else None
    keys = [one.get("public_key") for one in _principals(answer, name) if one.get("type") == "client"]
    key = keys[0] if keys else ""
    return key if isinstance(key, str) and (not key or "BEGIN PUBLIC KEY" in key) else None


def _principals(answer: Answer, name: str) -> list[dict[str, Any]]:
    """Those of that name, which servers give in a list or alone."""
    found = answer.fields.get("principals", [answer.fields])
    if not isinstance(found, list):
        return []
    return [one for one in found if isinstance(one, dict) and one.get("name") == name]


def judge_client(answer: Answer, name: str, utc_now: datetime.datetime) -> Finding:
    """The answer to a ``GET`` of the client ``name``, which signed it, received at ``utc_now``."""
    if _is_missing(answer, name):  # it is a user of that name that signed
        return Finding(Outcome.NOT_ASSOCIATED, _reason(answer))
    return _judge_signed(answer, name, utc_now, is_granted=answer.is_object(name))


def judge_environment(answer: Answer, name: str, user: str, utc_now: datetime.datetime) -> Finding:
    """The answer to a ``GET`` of the environment ``name`` signed by ``user``, received at ``utc_now``."""
    return _judge_signed(answer, user, utc_now, is_granted=answer.is_object(name))


def judge_one(answer: Answer, name: str, user: str, utc_now: datetime.datetime) -> Finding:
    """The answer to a ``GET`` or ``DELETE`` of the node or client ``name`` by ``user``: OK as well if there is none."""
    if _is_missing(answer, name):
        kind = answer.kind.removesuffix("s")
        return Finding(Outcome.OK, f"answers, but has no {kind} object {name}", has_node_object=False)
    return _judge_signed(answer, user, utc_now, is_granted=answer.is_object(name))


def judge_created(answer: Answer, user: str, utc_now: datetime.datetime) -> Finding:
    """The answer to a ``POST`` signed by ``user``, received at ``utc_now``: OK when something was created.

    With a Chef server's API version 1 the body has ``chef_key``, with 0 and on goiardi it has not; all have ``uri``.
    """
    is_created = answer.status == 201 and not answer.fields.keys().isdisjoint(("uri", "chef_key"))
    return _judge_signed(answer, user, utc_now, is_granted=is_created)


def judge_named(answer: Answer, name: str) -> bool | None:
    """The answer to a signed ``GET`` of the object ``name``: whether it exists.

    None when the answer proves neither: an old server has no such kind of object, goiardi 0.11 answers 200 with nothing
    to a path that it does not know, and a server may refuse to tell.
    """
    if answer.is_object(name):
        return True
    return False if _is_missing(answer, name) else None


def judge_search(answer: Answer, user: str, utc_now: datetime.datetime) -> Finding:
    """The answer to a search signed by ``user``, received at ``utc_now``: OK if it is ``rows`` and their ``total``."""
    rows, total = answer.fields.get("rows"), answer.fields.get("total")
    is_found = isinstance(rows, list) and isinstance(total, int) and total >= 0
    return _judge_signed(answer, user, utc_now, is_granted=answer.status == 200 and is_found)


def judge_listing(answer: Answer, user: str, utc_now: datetime.datetime) -> Finding:
    """The answer to a ``GET`` of all objects of a kind, signed by ``user``: OK if it is an address for each name."""
    if all(isinstance(uri, str) for uri in answer.fields.values()):
        return judge_object(answer, user, utc_now)
    return _judge_refusal(answer, user, utc_now)


def judge_object(answer: Answer, user: str, utc_now: datetime.datetime) -> Finding:
    """The answer to a ``GET`` that ``user`` signed, received at ``utc_now``: OK if it is any JSON object."""
    is_object = answer.status == 200 and answer.document is not None
    return _judge_signed(answer, user, utc_now, is_granted=is_object)


def judge_acl(answer: Answer, name: str) -> tuple[bool | None, bool | None]:
    """The answer to a signed ``GET`` of the ``_acl`` of the node ``name``, which signed it.

    The first is whether the object exists, the second whether the node may save it; None for what is not told.

    Only who may grant is shown the list, as who has made the object is; anybody else probably may not save it either.
    A node that the list does not name may yet be in one of its groups. goiardi looks for a node ``NAME/_acl``, and old
    servers have no such path.
    """
    update = answer.fields.get("update")
    if answer.status == 200 and isinstance(update, dict):
        actors = update.get("actors")
        return True, True if isinstance(actors, list) and name in actors else None
    if _is_forbidden(answer):
        return True, False
    return judge_named(answer, name), None


def judge_head(answer: Answer) -> bool:
    """The answer to a signed ``HEAD`` of an object: whether it proves, by Chef's header, that the object exists."""
    return answer.status == 200 and _API_VERSION in answer.headers


@attrs.frozen
class PolicyFound:
    """What an answer says of one policy."""

    exists: bool | None = None
    """In its policy group; None when the answer does not tell."""
    revision: str | None = None


def judge_policy(answer: Answer, group: str, name: str) -> PolicyFound:
    """The answer to a signed ``GET`` of the policy group ``group``: what it says of the policy ``name``."""
    policies = answer.fields.get("policies")
    if answer.status != 200 or not isinstance(policies, dict):
        return PolicyFound(False if _is_missing(answer, group) else None)
    if name not in policies:
        return PolicyFound(False)
    revision = policies[name].get("revision_id") if isinstance(policies[name], dict) else None
    if isinstance(revision, str) and 0 < len(revision) <= limits.REVISION_CHARACTERS and revision.isprintable():
        return PolicyFound(True, revision)
    return PolicyFound()


def judge_cookbooks(answer: Answer) -> dict[str, str] | None:
    """The answer to a signed ``GET`` of the latest cookbooks, or of an environment's: the version of each, by name.

    None when it is not such a list: an old server has no such path, goiardi answers 200 with nothing to a path that it
    does not know, and a server may refuse to tell. A cookbook of which no version is admitted is left out.
    """
    body = answer.document
    if answer.status != 200 or body is None or len(body) > limits.COOKBOOKS:
        return None
    found = {}
    for name, entry in body.items():
        match entry:
            case str():  # the address of the latest
                version = entry.rpartition("/")[2]
            case {"versions": [{"version": version}, *_]}:
                pass
            case {"versions": []} if is_cookbook(name):
                continue
            case _:
                return None
        if not (is_cookbook(name) and is_version(version)):
            return None
        found[name] = version
    return found


def is_version(version: object) -> bool:
    """Is it a cookbook's version: two or three numbers with dots between?"""
    return isinstance(version, str) and _VERSION.fullmatch(version) is not None


def is_cookbook(name: object) -> bool:
    """Could a cookbook have this name?"""
    return isinstance(name, str) and _COOKBOOK.fullmatch(name) is not None


def time_told(answer: Answer) -> datetime.datetime | None:
    """The server's own time, in UTC; None when it does not tell."""
    return _date(answer.headers.get("date", ""))


def licence_notice(answer: Answer) -> str | None:
    """What a server says whose licence has ended, and which works nevertheless; None where there is no such thing."""
    try:
        told = json.loads(answer.headers.get("x-ops-license", ""))
    except (ValueError, RecursionError):
        return None
    if answer.status == 403 or not isinstance(told, dict) or told.get("gracePeriod") is not True:
        return None
    words = told.get("warningMessage")
    return printable(words) if isinstance(words, str) and words else "no end date given"


def retry_after_s(answer: Answer) -> float:
    """For how many seconds a server that answers 429 or 503 wants no more requests; 0 when it does not say.

    At most `limits.STAY_AWAY_S`. A date counts from the server's own, so that no clock of this node matters.
    Source: RFC 9110, 10.2.3.
    """
    if answer.status not in (429, 503):
        return 0.0
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(limits.STAY_AWAY_S, float(text))
    until, now = _date(text), time_told(answer)
    return min(limits.STAY_AWAY_S, max(0.0, (until - now).total_seconds())) if until and now else 0.0


def _date(text: str) -> datetime.datetime | None:
    """An HTTP date, in UTC; None when ``text`` is none."""
    try:
        return email.utils.parsedate_to_datetime(text).astimezone(datetime.UTC)
    except (ValueError, TypeError, OverflowError):
        return None


def _judge_signed(answer: Answer, user: str, utc_now: datetime.datetime, *, is_granted: bool) -> Finding:
    return Finding(Outcome.OK) if is_granted else _judge_refusal(answer, user, utc_now)


def _judge_refusal(answer: Answer, user: str, utc_now: datetime.datetime) -> Finding:
    """What a Chef server says to a request that is signed by ``user``, and that it does not grant."""
    if answer.status == 401 and answer.error:
        skew = _clock_skew(answer, user, utc_now)
        return Finding(Outcome.CLOCK_SKEW, skew) if skew else Finding(Outcome.NOT_ASSOCIATED, _reason(answer))
    if _is_forbidden(answer):
        return Finding(Outcome.FORBIDDEN, _reason(answer))
    return _judge_failure(answer)


def _judge_unsigned(answer: Answer) -> Finding:
    # 401, or 400 for the missing headers: Chef's own words to a request without a signature.
    if answer.status in (400, 401) and answer.error:
        return Finding(Outcome.OK)
    return _judge_failure(answer)


def _judge_failure(answer: Answer) -> Finding:
    if _lacks_organization(answer):
        words = f"HTTP 404: invalid organization name '{answer.organization}': use lower-case letters"
        return Finding(Outcome.WRONG_ORGANIZATION, _reason(answer) if answer.error else words)
    status = answer.status
    phrase = next((one.phrase for one in HTTPStatus if one == status), "")
    said = f"HTTP {status} {phrase}".rstrip()
    for is_it, outcome, words in _FAILURES:
        if is_it(answer):
            return Finding(outcome, f"{said}{words}")
    if status >= 400 and answer.error:  # also a 404, as any web service has one: Chef names what it has not found
        return Finding(Outcome.SERVER_ERROR, f"{said}: {printable(answer.error)}")
    what = "empty body" if not answer.body else "not an answer of a Chef server"
    if status == 200 and not answer.body and answer.organization is not None:
        what += f"; {no_api_under(answer.organization)}"
    return Finding(Outcome.NOT_CHEF, f"{said}: {what}")


def _reason(answer: Answer) -> str:
    return f"HTTP {answer.status}: {printable(answer.error)}"


def no_api_under(organization: str) -> str:
    """Say what to do where a server answers under ``organization`` as one without organizations."""
    return (
        f"no Chef API under /organizations/{organization}; for a server without organizations (goiardi, Chef 11) set"
        " organization: null"
    )


def is_own_page(answer: Answer) -> bool:
    """It is the page of the nginx that belongs to a Chef server, for what it does not find or cannot pass on."""
    return answer.status == 404 and _OWN_PAGE.search(answer.body[:2000]) is not None


def _lacks_organization(answer: Answer) -> bool:
    """It names the organization as what is missing, or its nginx has no route to one of such a name."""
    organization = answer.organization
    if organization is None or answer.status != 404:
        return False
    if answer.error:
        return _names(answer.error, organization)
    return not _ORGANIZATION_NAME.fullmatch(organization) and is_own_page(answer)


def _is_missing(answer: Answer, name: str) -> bool:
    """It says that there is no object ``name``, which was asked for, in an organization that there is.

    A server names the organization alone when there is none: ``organization 'acme' does not exist.``
    """
    if answer.status != 404 or not answer.error or answer.fields.get("not_found") == "org":
        return False
    kind = re.sub("[^a-z]", "", answer.kind.removesuffix("s"))
    names_kind = kind in re.sub("[^a-z]", "", answer.error.lower())
    return _names(answer.error, name) and (name != answer.organization or names_kind)


def _names(error: str, name: str) -> bool:
    """It quotes ``name`` or, where it quotes nothing, has it as a whole, not as a part of another name."""
    quoted = re.findall("'([^']*)'", error)
    if quoted:
        return name in quoted
    return re.search(rf"(?<![\w.:-]){re.escape(name)}(?![\w-]|[.:]\w)", error) is not None


def _clock_skew(answer: Answer, user: str, utc_now: datetime.datetime) -> str | None:
    """Both clocks, if they are too far apart, as the server's own time shows or, where it is stricter, its words."""
    theirs = time_told(answer)
    is_apart = theirs is not None and abs((theirs - utc_now).total_seconds()) > AUTH_SKEW_S
    if not is_apart and "clock" not in answer.error.replace(f"'{user}'", "").lower():
        return None
    told = f", the server's {theirs:%Y-%m-%d %H:%M:%S} UTC" if theirs else "; the server refuses it"
    return f"clock skew: this node's clock says {utc_now:%Y-%m-%d %H:%M:%S} UTC{told}"


def _is_forbidden(answer: Answer) -> bool:
    return answer.status == 403 and bool(answer.error) and not _is_licence(answer)


def _is_licence(answer: Answer) -> bool:
    return answer.status == 403 and answer.fields.get("message") == "invalid-license"


_FAILURES: tuple[tuple[Callable[[Answer], bool], Outcome, str], ...] = (
    (_is_licence, Outcome.LICENCE, ": the server's Chef licence is not valid"),
    (lambda answer: answer.status == 429, Outcome.BUSY, ": busy"),
    (
        lambda answer: answer.status == 503 and _API_VERSION in answer.headers,
        Outcome.BUSY,
        ": busy, no free database connection",
    ),
    (
        lambda answer: answer.status == 503,
        Outcome.MAINTENANCE,
        ": in maintenance, or refused by a proxy in front of it",
    ),
    (
        lambda answer: answer.status == 400 and b"SSL certificate" in answer.body,
        Outcome.TLS,
        ": its front end demands a client certificate, and the sidecar has none",
    ),
    (is_own_page, Outcome.SERVER_ERROR, ": nginx answers, but the Chef server behind it does not"),
    (lambda answer: answer.status >= 500, Outcome.SERVER_ERROR, ""),
    (lambda answer: 300 <= answer.status < 400, Outcome.NOT_CHEF, ": redirects, which a Chef server never does"),
)
"""What an answer is that is no success, the first that fits, with words that follow its status line."""
