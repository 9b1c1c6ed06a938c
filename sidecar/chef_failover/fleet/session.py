"""Shell: an account on a Chef server, and what asks there in its name."""

from __future__ import annotations

from pathlib import Path

import attrs

from chef_failover.chef.https import ChefServer, Target
from chef_failover.chef.lookup import Resolver
from chef_failover.chef.signing import ChefAuth
from chef_failover.chef.trust import TrustStore
from chef_failover.fleet.asking import Asker, Pace
from chef_failover.fleet.credentials import Account


@attrs.frozen
class Session:
    """Requests of ``account``, one after the other."""

    account: Account
    asker: Asker


def begin(account: Account, trust: TrustStore, ca_file: Path | None, pace: Pace, timeout_s: float) -> Session:
    """The session in which ``account`` asks at ``pace``, and waits ``timeout_s`` seconds for each answer."""
    target = Target(account.chef_server_url, timeout_s, ca_file, account.user, uses_environment_proxy=True)

    def signer(protocol: str) -> ChefAuth:
        return ChefAuth(account.user, account.key, protocol)

    return Session(account, Asker(ChefServer(target, Resolver(), trust), signer, account.user, pace))
