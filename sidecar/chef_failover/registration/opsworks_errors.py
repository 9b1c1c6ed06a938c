"""Pure: what an error of OpsWorks CM means for a registration that was asked for.

What a person must mend is REFUSE, with the configuration key that is the likeliest. All the rest is FAIL.
"""

from __future__ import annotations

import attrs

from chef_failover.errors import AwsError
from chef_failover.model.registration import Answer, Event

POLICY = "packaging/iam/opsworks-cm.json"


@attrs.frozen
class Place:
    """A server of OpsWorks CM. ``endpoint_url`` is that of the service, when that is not its public address."""

    server_name: str
    region: str
    endpoint_url: str | None = None

    @property
    def service(self) -> str:
        """As sentences begin."""
        return f"OpsWorks CM in {self.region}"


def judge(error: AwsError, operation: str, place: Place) -> Answer:
    """The answer to ``operation`` of the API."""
    if error.is_throttled:
        what = f"{place.service} is busy: {error}"
        return Answer(Event.FAIL, what, is_throttled=True)
    return Answer(Event.FAIL if error.is_passing else Event.REFUSE, _sentence(error, operation, place))


def _sentence(error: AwsError, operation: str, place: Place) -> str:
    service = place.service
    if error.is_about_credentials:
        return (
            f"{service} rejects this node's AWS credentials: {error}; give the instance a profile that allows"
            f" what {POLICY} has, and check its clock"
        )
    match error.code:
        case "InvalidStateException":
            return f"{service} says that server {place.server_name} is not HEALTHY: {error.message}"
        case "ResourceNotFoundException":
            return (
                f"{service} shows this node no server {place.server_name}; correct association.server_name or"
                f" association.region, or allow what {POLICY} has"
            )
        case "AccessDeniedException" | "AccessDenied":
            return f"this node's role may not call opsworks-cm:{operation} in {place.region}; allow what {POLICY} has"
        case "Unreachable" if place.endpoint_url is None:
            return (
                f"{error}; check association.region. AWS ended OpsWorks for Chef Automate in May 2024; set"
                f" association.endpoint_url for another address"
            )
    return f"{service}: {error}; check association.region and association.endpoint_url"
