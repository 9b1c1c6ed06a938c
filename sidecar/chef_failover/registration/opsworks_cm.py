"""I/O: the provider that has AWS OpsWorks CM register the node.

AssociateNode gives a token, and DescribeNodeAssociationStatus tells by it how far the service has got. We ask after it
step by step: botocore's waiter for this would end at the first error of any kind.

The service allows an account five calls a second. A fleet that boots as one is past that with its first calls, and more
so by asking after them. So a node that is turned back starts again over a wide span, and one that asks after a token
doubles its pause each time it is throttled, and shortens it again with every answer.

DisassociateNode is called on a person's word alone (``chef-failover associate --replace``), never on our own. The
service gives no reason for a registration that FAILED, so it would be a guess; it takes the server away from whoever
holds the name, so two clones would take it from each other for ever; and IAM knows no resource for it, so every node
that may call it could remove every other one. What FAILED because an earlier life had registered the very same key is
confirmed by the Chef server itself; all else is said to a person.

Sources: the API reference of AWS OpsWorks CM, 2016-11-01; userdata.sh of its starter kits of 2018 and 2019.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

from chef_failover.aws import call as aws
from chef_failover.config.settings import OpsworksAssociation
from chef_failover.decide.rights import cure
from chef_failover.decide.spread import varied
from chef_failover.errors import AwsError
from chef_failover.model.registration import Answer, Event
from chef_failover.registration.base import Registrant

ATTRIBUTE_NAMES = (
    ("CHEF_AUTOMATE_ORGANIZATION", "CHEF_AUTOMATE_NODE_PUBLIC_KEY"),
    ("CHEF_ORGANIZATION", "CHEF_NODE_PUBLIC_KEY"),
)
"""For organization and key, as the starter kits have them from 2019 on and before."""
REMOVAL = "removal "
"""Begins the ticket of a DisassociateNode."""
LONGEST_TOKEN = 2000
POLICY = "packaging/iam/opsworks-cm.json"
POLL_S = 5.0
LONGEST_POLL_S = 160.0
MOST_POLLS = 240
"""Questions after one request: twenty minutes of good answers, or hours of bad ones."""


class OpsworksCm:
    """Registers nodes with the server ``server_name`` of OpsWorks CM, which ``association`` says where to ask.

    ``is_known`` asks the Chef server itself whether it takes the registrant's key already.
    """

    repairs = True

    def __init__(
        self,
        association: OpsworksAssociation,
        *,
        server_name: str,
        organization: str = "default",
        call: aws.Call = aws.call,
        is_known: Callable[[Registrant], bool] = lambda _: False,
        rng: random.Random,
    ) -> None:
        self._association = association
        self._service = f"OpsWorks CM in {association.region}"
        self._server_name = server_name
        self._organization = organization
        self._call = functools.partial(
            call,
            "opsworkscm",
            region=association.region,
            endpoint_url=association.endpoint_url,
            ca_file=association.ca_file,
        )
        self._is_known = is_known
        self._rng = rng
        self._poll_s = POLL_S
        self._polls_left = MOST_POLLS

    def associate(self, registrant: Registrant, ticket: str | None) -> Answer:
        """Begin, or ask after ``ticket``, the service's token."""
        if ticket is not None:
            self._polls_left -= 1
            if self._polls_left < 0:
                return Answer(
                    Event.FAIL, f"{self._service} did not finish the request in time; retrying from the start"
                )
            return self._ask_after(registrant, ticket)
        return self._remove(registrant) if registrant.replaces else self._begin(registrant)

    def _remove(self, registrant: Registrant) -> Answer:
        """Have what is registered under this name removed, and begin once it is."""
        attributes = [{"Name": ATTRIBUTE_NAMES[0][0], "Value": self._organization}]
        try:
            reply = self._ask("DisassociateNode", NodeName=registrant.node_name, EngineAttributes=attributes)
        except AwsError as error:
            return self._judge(error, "DisassociateNode")
        return self._follow(reply, "is removing the older registration", REMOVAL)

    def _begin(self, registrant: Registrant) -> Answer:
        self._poll_s, self._polls_left = POLL_S, MOST_POLLS
        values = (self._organization, registrant.key.public_pem().decode())
        rejections = []
        for names in ATTRIBUTE_NAMES:
            attributes = [{"Name": name, "Value": value} for name, value in zip(names, values, strict=True)]
            try:
                reply = self._ask("AssociateNode", NodeName=registrant.node_name, EngineAttributes=attributes)
            except AwsError as error:
                if error.code != "ValidationException":
                    return self._judge(error, "AssociateNode")
                rejections.append(error)
            else:
                return self._follow(reply, "is registering this node")
        # Neither names were it; that the node's name is taken might be.
        return self._confirm_known(registrant) or Answer(Event.REFUSE, self._rejected(registrant, rejections[0]))

    def _ask_after(self, registrant: Registrant, ticket: str) -> Answer:
        service = self._service
        try:
            token = ticket.removeprefix(REMOVAL)
            reply = self._ask("DescribeNodeAssociationStatus", NodeAssociationStatusToken=token)
        except AwsError as error:
            return self._judge_question(error, ticket)
        self._poll_s = max(POLL_S, 0.9 * self._poll_s)
        match reply.get("NodeAssociationStatus"):
            case "SUCCESS" | "FAILED" if ticket.startswith(REMOVAL):  # FAILED: there was nothing, or we hear of it now
                return self._begin(registrant)
            case "SUCCESS":
                return Answer(Event.CONFIRM, f"{service} registered this node")
            case "FAILED":
                return self._confirm_known(registrant) or Answer(Event.FAIL, self._failed(registrant))
            case "IN_PROGRESS":
                return self._go_on(ticket, f"{service} is working on it")
        return self._go_on(ticket, f"{service} sent an unknown status")

    def _ask(self, operation: str, **parameters: object) -> dict[str, Any]:
        return self._call(operation, {"ServerName": self._server_name, **parameters})

    def _judge_question(self, error: AwsError, ticket: str) -> Answer:
        """Whatever may pass leaves the request itself under way."""
        service = self._service
        error = AwsError(error.code, error.message.replace(ticket.removeprefix(REMOVAL), "…"), error.status)
        if error.code in ("ResourceNotFoundException", "ValidationException"):
            return Answer(Event.FAIL, f"{service} does not know the request any more; retrying from the start")
        if not error.is_passing:
            return self._judge(error, "DescribeNodeAssociationStatus")
        self._poll_s = min(LONGEST_POLL_S, 2 * self._poll_s)
        return self._go_on(ticket, f"{service} does not say how the request stands: {error}")

    def _judge(self, error: AwsError, operation: str) -> Answer:
        """What a person must mend is REFUSE, with the configuration key that is the likeliest. All the rest is FAIL."""
        if error.is_throttled:
            return Answer(Event.FAIL, f"{self._service} is busy: {error}", is_throttled=True)
        return Answer(Event.FAIL if error.is_passing else Event.REFUSE, self._sentence(error, operation))

    def _sentence(self, error: AwsError, operation: str) -> str:
        service, server, region = self._service, self._server_name, self._association.region
        if error.is_about_credentials:
            return (
                f"{service} rejects this node's AWS credentials: {error}; give the instance a profile that allows"
                f" what {POLICY} has, and check its clock"
            )
        match error.code:
            case "InvalidStateException":
                return f"{service} says that server {server} is not HEALTHY: {error.message}"
            case "ResourceNotFoundException":
                return (
                    f"{service} shows this node no server {server}; correct association.server_name or"
                    f" association.region, or allow what {POLICY} has"
                )
            case "AccessDeniedException" | "AccessDenied":
                return f"this node's role may not call opsworks-cm:{operation} in {region}; allow what {POLICY} has"
            case "Unreachable" if self._association.endpoint_url is None:
                return (
                    f"{error}; check association.region. AWS ended OpsWorks for Chef Automate in May 2024; set"
                    f" association.endpoint_url for another address"
                )
        return f"{service}: {error}; check association.region and association.endpoint_url"

    def _follow(self, reply: dict[str, Any], detail: str, kind: str = "") -> Answer:
        """Ask after the token in ``reply``, if it is one that can be written down."""
        token = reply.get("NodeAssociationStatusToken")
        if not isinstance(token, str) or not 0 < len(token) <= LONGEST_TOKEN or not token.isprintable():
            return Answer(Event.FAIL, f"{self._service} sent no token")
        return self._go_on(f"{kind}{token}", f"{self._service} {detail}")

    def _go_on(self, ticket: str, detail: str) -> Answer:
        pause_s = varied(self._poll_s, self._rng.random())
        return Answer(Event.GO_ON, detail, ticket=ticket, not_before_s=pause_s)

    def _confirm_known(self, registrant: Registrant) -> Answer | None:
        known = self._is_known(registrant)
        return Answer(Event.CONFIRM, "the server already accepts this node's key") if known else None

    def _failed(self, registrant: Registrant) -> str:
        node = registrant.node_name
        return (
            f"{self._service} could not register this node and gives no reason. If {self._server_name} has"
            f" a client {node} with another key, delete it (knife client delete {node}). This node's object there then"
            f" belongs to the deleted client: {cure(node)}"
        )

    def _rejected(self, registrant: Registrant, error: AwsError) -> str:
        return (
            f"{self._service} rejects the server name {self._server_name}, the organization"
            f" {self._organization} or the node name {registrant.node_name}: {error.message}; correct"
            f" association.server_name, organization or node.name"
        )
