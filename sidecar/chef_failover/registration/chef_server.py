"""I/O: registration with a Chef server itself, in the name of an organization's validator.

The order of the questions is what makes it safe to be interrupted anywhere. First the server is asked, in the node's
own name, whether it knows this node by this key: then there is nothing to do, and neither the validator nor its key is
touched. Only a clear no leads to ``POST /clients``. A name that is taken meanwhile is asked about once more, since the
validator itself may not look at clients.

Sources: github.com/chef/chef lib/chef/api_client/registration.rb; github.com/chef/chef-server oc_chef_wm_clients.erl;
goiardi 0.11.10 as it runs.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence

import attrs

from chef_failover.chef import answers
from chef_failover.chef.answers import Finding
from chef_failover.chef.deadline import ProbeError
from chef_failover.chef.https import ChefServer, Connection
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.protocol import SIGNING_PROTOCOLS
from chef_failover.chef.signing import ChefAuth
from chef_failover.decide.rights import cure
from chef_failover.errors import KeyFileError
from chef_failover.model.model import Outcome
from chef_failover.model.registration import Answer, Event
from chef_failover.registration.base import Registrant

_ADVICE = {
    Outcome.NOT_ASSOCIATED: "{said}; association.validator_key is not the key of client {validator} on this server,"
    " or the organization is wrong; if it is another client's key, set association.validator to that client's name",
    Outcome.FORBIDDEN: "{said}; client {validator} may not create clients there;"
    " set association.validator to one that may",
    Outcome.WRONG_ORGANIZATION: "{said}; set node.organization to one that exists there",
}
"""What a person has to mend, by what the server says to the validator."""


@attrs.frozen
class ChefServerProvider:
    """Registers with ``server``, in the name of the client ``validator``, at ``utc_now()``."""

    server: ChefServer
    validator: str
    read_key: Callable[[], PrivateKey] | None
    """Reads the validator's key, each time that it is needed; None when none is configured."""
    utc_now: Callable[[], datetime.datetime]

    repairs = True

    def associate(self, registrant: Registrant, ticket: str | None) -> Answer:  # noqa: ARG002
        """Registered at once, or not: there is never anything to ask after."""
        try:
            with self.server.open() as connection:
                known, answer = _ask_as(connection, registrant, self.utc_now)
            if known.outcome is not Outcome.NOT_ASSOCIATED:
                return _judge_known(known, answer)
            if self.read_key is None:
                return Answer(
                    Event.REFUSE, "the server does not know this node; set association.validator_key to register it"
                )
            validator_key = self.read_key()
            with self.server.open() as connection:
                return self._register(connection, registrant, validator_key)
        except ProbeError as error:
            return Answer(Event.FAIL, error.detail)
        except KeyFileError as error:
            event = Event.FAIL if error.is_passing else Event.REFUSE
            return Answer(event, str(error), is_throttled=error.is_throttled)

    def _register(self, connection: Connection, registrant: Registrant, validator_key: PrivateKey) -> Answer:
        document = {"name": registrant.node_name, "public_key": registrant.key.public_pem().decode()}
        for protocol in SIGNING_PROTOCOLS:
            auth = ChefAuth(self.validator, validator_key, protocol, self.utc_now)
            answer = connection.request("POST", f"{connection.target.chef_server_url}/clients", auth, document)
            if answer.status == 409:
                known, answer = _ask_as(connection, registrant, self.utc_now, [protocol])
                if known.outcome is Outcome.NOT_ASSOCIATED:
                    return Answer(Event.REFUSE, conflict(registrant.node_name))
                return _judge_known(known, answer)
            finding = answers.judge_created(answer, self.validator, self.utc_now())
            if answer.status not in (400, 401) or finding.outcome is Outcome.CLOCK_SKEW:
                break
        return self._judge_created(finding, answer)

    def _judge_created(self, finding: Finding, answer: answers.Answer) -> Answer:
        what_to_do = advice(finding, self.validator)
        if finding.outcome is Outcome.OK:
            return Answer(Event.CONFIRM, f"registered by {self.validator}")
        if what_to_do is not None:
            return Answer(Event.REFUSE, what_to_do)
        if 400 <= answer.status < 500 and finding.outcome is Outcome.SERVER_ERROR:
            return Answer(Event.REFUSE, f"the server rejects this node's name or key ({finding.detail}); see node.name")
        return _judge_failure(finding, answer)


def is_known(server: ChefServer, registrant: Registrant, *, utc_now: Callable[[], datetime.datetime]) -> bool:
    """Whether the server takes the registrant for the node of that name; False also when it cannot be asked."""
    try:
        return _knows(ask_as(server, registrant, utc_now=utc_now))
    except ProbeError:
        return False


def ask_as(server: ChefServer, registrant: Registrant, *, utc_now: Callable[[], datetime.datetime]) -> Finding:
    """What the server says to one request in the name of ``registrant``, who is its target's node.

    Raises:
        ProbeError: it cannot be asked.
    """
    with server.open() as connection:
        return _ask_as(connection, registrant, utc_now)[0]


def advice(finding: Finding, validator: str) -> str | None:
    """What a person has to mend after ``finding``, which ``validator`` was told; None for what is not his affair."""
    words = _ADVICE.get(finding.outcome)
    return words.format(validator=validator, said=finding.detail) if words else None


def conflict(node_name: str) -> str:
    """What a person has to mend where another key is registered under this node's name."""
    return (
        f"key conflict: another key is registered there as {node_name}, or this key has expired. If this node was"
        f" rebuilt, delete the old client (knife client delete {node_name}) and run chef-failover associate. Its object"
        f" there belongs to the old client: {cure(node_name)}. If another node has this name, change one node.name"
    )


def _ask_as(
    connection: Connection,
    registrant: Registrant,
    utc_now: Callable[[], datetime.datetime],
    protocols: Sequence[str] = SIGNING_PROTOCOLS,
) -> tuple[Finding, answers.Answer]:
    """What the server says to a request in the node's own name; 400 is its word for a protocol it does not know."""
    for protocol in protocols:
        auth = ChefAuth(registrant.node_name, registrant.key, protocol, utc_now)
        answer = connection.request("GET", connection.target.own("clients"), auth)
        if answer.status != 400:
            break
    return answers.judge_client(answer, registrant.node_name, utc_now()), answer


def _knows(finding: Finding) -> bool:
    return finding.outcome.serves_node or finding.outcome is Outcome.FORBIDDEN  # which is said only to a known client


def _judge_known(finding: Finding, answer: answers.Answer) -> Answer:
    if _knows(finding):
        return Answer(Event.CONFIRM, "the server knows this node by this key")
    if finding.outcome is Outcome.WRONG_ORGANIZATION:
        return Answer(Event.REFUSE, _ADVICE[finding.outcome].format(said=finding.detail))
    return _judge_failure(finding, answer)


def _judge_failure(finding: Finding, answer: answers.Answer) -> Answer:
    """A server that refuses requests for the load is likely to have a whole fleet at its door."""
    if answer.status not in (429, 503):
        return Answer(Event.FAIL, finding.detail)
    return Answer(Event.FAIL, finding.detail, not_before_s=answers.retry_after_s(answer), is_throttled=True)
