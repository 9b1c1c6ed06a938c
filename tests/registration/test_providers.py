"""What holds for every provider, run on each: a real server, a stub on the wire, or nothing at all."""

import datetime
import random

import pytest

from chef_failover.chef.https import ChefServer, Target
from chef_failover.chef.libcrypto import PrivateKey
from chef_failover.chef.lookup import Resolver
from chef_failover.chef.trust import TrustStore
from chef_failover.config.schema import EndpointUrl, Name
from chef_failover.config.settings import OpsworksAssociation, parse
from chef_failover.decide.registration import TABLE
from chef_failover.engine.workers import chef_server_for
from chef_failover.errors import AwsError
from chef_failover.model.model import RegistrationState
from chef_failover.model.registration import Event
from chef_failover.node.machine import Machine
from chef_failover.registration.base import NoProvider, Registrant
from chef_failover.registration.chef_server import ChefServerProvider
from chef_failover.registration.opsworks_cm import OpsworksCm
from chef_failover.registration.providers import make_provider
from tests.support.daemon_process import dev_servers
from tests.support.opsworks_stub import HANG_UP, OpsworksStub

NODE, KEY = "i-0abc", PrivateKey.generate()
STEPS = 10


class ChefServerWorld:
    """A Chef server that knows nobody."""

    def __init__(self, server, folder):
        self._server, self._folder = server, folder
        (folder / "ca.pem").write_bytes(server.ca_pem)

    def provider(self):
        target = Target(self._server.chef_server_url, timeout_s=5.0, ca_file=self._folder / "ca.pem", node_name=NODE)
        return ChefServerProvider(
            ChefServer(target, Resolver(), TrustStore(())),
            validator=self._server.state.validator,
            read_key=lambda: self._server.validator_key,
            utc_now=lambda: datetime.datetime.now(datetime.UTC),
        )

    def known(self):
        return [pem.strip() for name, pem in self._server.state.clients.items() if name == NODE]

    def end(self):
        self._server.stop()


class OpsworksWorld:
    """OpsWorks CM with a server that knows nobody."""

    def __init__(self, stub):
        self._stub = stub

    def provider(self):
        association = OpsworksAssociation(Name("us-east-1"), endpoint_url=EndpointUrl(self._stub.url))
        return OpsworksCm(association, server_name="mainserver", rng=random.Random(1))

    def known(self):
        return [pem.strip() for pem in self._stub.nodes["mainserver"].values()]

    def end(self):
        self._stub.faults.extend([HANG_UP] * STEPS)


class NoWorld:
    """Somebody else has registered the node."""

    def provider(self):
        return NoProvider()

    def known(self):
        return [KEY.public_pem().decode().strip()]

    def end(self):
        """Nothing can keep it from doing nothing."""


@pytest.fixture(params=["chef-server", "opsworks-cm", "none"])
def world(request, tmp_path, aws_secret):
    if request.param == "chef-server":
        with dev_servers("mainserver") as (server,):
            yield ChefServerWorld(server, tmp_path)
    elif request.param == "opsworks-cm":
        with OpsworksStub() as stub:
            yield OpsworksWorld(stub)
    else:
        yield NoWorld()


def drive(provider, ticket=None, *, steps=STEPS):
    """The answers of ``provider``, asked until it has nothing more to say."""
    answers = []
    for _ in range(steps):
        answers.append(provider.associate(Registrant(NODE, KEY), ticket))
        if answers[-1].event is not Event.GO_ON:
            break
        ticket = answers[-1].ticket
    return answers


def test_a_node_ends_confirmed_and_is_known_by_its_key_once(world):
    assert drive(world.provider())[-1].event is Event.CONFIRM
    assert world.known() == [KEY.public_pem().decode().strip()]


def test_each_answer_is_one_that_the_table_takes_of_a_request(world):
    for answer in drive(world.provider()):
        assert (RegistrationState.REQUESTED, answer.event) in TABLE
        assert (answer.ticket is not None) == (answer.event is Event.GO_ON)
        assert answer.not_before_s >= 0


def test_asked_again_by_the_next_life_it_confirms_the_same(world):
    drive(world.provider())
    assert drive(world.provider())[-1].event is Event.CONFIRM
    assert world.known() == [KEY.public_pem().decode().strip()]


def test_killed_after_the_first_step_the_next_life_ends_confirmed(world):
    first = drive(world.provider(), steps=1)[0]
    for ticket in {None, first.ticket}:
        assert drive(world.provider(), ticket)[-1].event is Event.CONFIRM
    assert world.known() == [KEY.public_pem().decode().strip()]


def test_whoever_does_not_answer_is_a_failure_in_words_or_was_not_needed(world):
    world.end()
    answer = drive(world.provider(), steps=1)[0]
    assert answer.event in (Event.FAIL, Event.CONFIRM)
    assert answer.detail or answer.event is Event.CONFIRM


def test_no_key_is_in_what_is_said(world):
    said = " ".join(answer.detail for answer in drive(world.provider()))
    assert "BEGIN" not in said


@pytest.mark.parametrize(
    "association",
    [
        "provider: chef-server, validator_key: 'ssm:/v', region: x",
        "provider: chef-server, validator_key: 'secretsmanager:v', region: x",
        "provider: opsworks-cm, region: x",
    ],
)
@pytest.mark.parametrize("more", ["", ", endpoint_url: 'https://e', ca_file: /e.pem"])
def test_an_endpoint_is_called_with_its_own_ca_file(tmp_path, association, more):
    called = []

    def call(*_, region, endpoint_url, ca_file=None):
        called.append((endpoint_url, ca_file and str(ca_file)))
        raise AwsError("AccessDeniedException", "denied", 400)

    with dev_servers("mainserver") as (server,):
        (tmp_path / "ca.pem").write_bytes(server.ca_pem)
        text = f"{{name: a, url: '{server.url}', ca_file: {tmp_path}/ca.pem, association: {{{association}{more}}}}}"
        config = parse(f"node: {{name: {NODE}}}\nservers: [{text}]")
        one, machine = config.servers[0], Machine()
        chef_server = chef_server_for(config, one, NODE, machine)
        provider = make_provider(config, one, chef_server, utc_now=machine.utc_now, rng=random.Random(1), call=call)
        assert provider.associate(Registrant(NODE, KEY), None).event is Event.REFUSE
    assert called == [("https://e", "/e.pem") if more else (None, None)]


def test_an_identity_is_of_name_and_key():
    others = Registrant("i-0def", KEY), Registrant(NODE, PrivateKey.generate(1024))
    assert Registrant(NODE, KEY).identity == Registrant(NODE, KEY, replaces=True).identity
    assert len({one.identity for one in (Registrant(NODE, KEY), *others)}) == 3
