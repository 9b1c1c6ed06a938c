"""May a node be removed: by what its servers have of it, line by line."""

import datetime
import math

import attrs
import pytest

from chef_failover.fleet import retirement
from chef_failover.fleet.retirement import Objection, Part, Sighting, parse, refusal, unread

ON = datetime.datetime(2026, 11, 30, 12, 0, tzinfo=datetime.UTC)
NOW = ON.timestamp()
GONE, OTHER = "i-0123456789abcdef0", "i-0fedcba9876543210"


SILENT = Sighting("standby", Part.THERE, Part.THERE)
"""A node object that was created or seeded, and that no run has saved."""
BARE = Sighting("standby", Part.THERE)
"""A client without a node object."""


def seen(age_s, instance_id=None, label="main"):
    seen_at = None if age_s is None else NOW - age_s
    return Sighting(label, Part.THERE, Part.THERE, has_run=True, seen_at=seen_at, instance_id=instance_id)


def objection(sightings, name="web-1", **more):
    refused = refusal(name, sightings, users={"admin"}, on=ON, **more)
    return refused and refused.objection


@pytest.mark.parametrize(
    ("sightings", "expected"),
    [
        ([Sighting("main")], None),
        ([BARE], None),
        ([SILENT], Objection.ALIVE),
        ([seen(None)], Objection.ALIVE),
        ([seen(3601)], None),
        ([seen(3601), SILENT, BARE], None),
        ([BARE, seen(3601)], None),
        ([SILENT, seen(3601)], Objection.ALIVE),
        ([seen(90000), seen(None, label="standby")], Objection.ALIVE),
        ([seen(3600)], Objection.ALIVE),
        ([seen(90000), seen(60, label="standby")], Objection.ALIVE),
        ([seen(90000), unread("standby", "connection refused")], Objection.UNREAD),
        ([Sighting("main", Part.THERE, is_privileged=True)], Objection.PROTECTED),
    ],
)
def test_a_node_that_a_person_names(sightings, expected):
    assert objection(sightings) is expected
    is_protected = expected is Objection.PROTECTED
    assert objection(sightings, is_forced=True) is (expected if is_protected else None)


@pytest.mark.parametrize(
    ("sightings", "expected"),
    [
        ([Sighting("main")], None),
        ([seen(60, GONE)], None),
        ([seen(None, GONE), SILENT, BARE], None),
        ([attrs.evolve(seen(60, GONE), is_own=False)], Objection.OTHER_INSTANCE),
        ([seen(60, GONE), seen(90000, OTHER)], Objection.OTHER_INSTANCE),
        ([seen(None, OTHER), seen(-9e9, GONE)], Objection.OTHER_INSTANCE),
        ([seen(None), seen(60, GONE)], Objection.OTHER_INSTANCE),
        ([seen(90000, GONE), seen(60, OTHER)], Objection.OTHER_INSTANCE),
        ([seen(60, GONE), seen(120, OTHER)], Objection.OTHER_INSTANCE),
        ([seen(90000, OTHER), seen(180000, GONE)], Objection.OTHER_INSTANCE),
        ([seen(60)], Objection.OTHER_INSTANCE),
        ([seen(60, GONE), unread("standby", "connection refused")], Objection.UNREAD),
    ],
)
def test_a_node_whose_instance_was_terminated(sightings, expected):
    assert objection(sightings, instance_id=GONE) is expected


def test_a_node_that_has_the_name_of_the_instance_is_gone_with_it():
    assert objection([seen(60)], name=GONE, instance_id=GONE) is None
    assert objection([seen(60, OTHER)], name=GONE, instance_id=GONE) is Objection.OTHER_INSTANCE
    assert retirement.of_instance(GONE, [BARE, SILENT], GONE) == (BARE, SILENT)


@pytest.mark.parametrize(
    ("sightings", "goes"),
    [
        ([seen(60, GONE), BARE, SILENT], [True, True, True]),
        ([BARE, seen(60, GONE), SILENT], [False, True, True]),
        ([SILENT, seen(60, GONE)], [False, True]),
        ([BARE, SILENT], [False, False]),
    ],
)
def test_who_tells_nothing_goes_by_the_servers_before_it(sightings, goes):
    found = retirement.of_instance("web-1", sightings, GONE)
    assert list(found) == [
        one if is_going else Sighting(one.label) for one, is_going in zip(sightings, goes, strict=True)
    ]


@pytest.mark.parametrize("name", ["admin", "acme-validator"])
def test_who_signs_and_a_validator_are_never_removed(name):
    assert objection([Sighting("main")], name=name, is_forced=True) is Objection.PROTECTED


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ([seen(720)], "seen 12 min ago on main: it may be alive"),
        ([SILENT], "standby knows no time of a run: it may be in its first one"),
        ([unread("standby", "connection refused")], "standby: connection refused. It may be in use there"),
    ],
)
def test_the_reason_is_told(kept, said):
    assert refusal("web-1", kept, users=(), on=ON).reason.startswith(said)


def test_the_reason_names_the_instance_that_has_the_name_now():
    reasons = [refusal("web-1", [seen(720, who)], users=(), on=ON, instance_id=GONE).reason for who in (OTHER, None)]
    assert reasons == [f"{who} has saved it on main" for who in (OTHER, "a machine without an EC2 instance id")]


def saved(**more):
    return Sighting("main", node=Part.THERE, has_run=True, **more)


def node(**automatic):
    return {"name": "web-1", "automatic": automatic}


@pytest.mark.parametrize(
    ("client", "object_", "expected"),
    [
        (None, None, Sighting("main")),
        ({"validator": False}, None, Sighting("main", Part.THERE)),
        ({"validator": True}, None, Sighting("main", Part.THERE, is_privileged=True)),
        ({"admin": True}, None, Sighting("main", Part.THERE, is_privileged=True)),
        ({"name": "boss"}, None, Sighting("main", Part.THERE, is_privileged=True)),
        (None, node(), Sighting("main", node=Part.THERE)),
        (None, {"automatic": None}, Sighting("main", node=Part.THERE)),
        (None, node(ohai_time=5, ec2={"instance_id": GONE}), saved(seen_at=5.0, instance_id=GONE)),
        (None, node(ohai_time="5", ec2={"instance_id": 7}), saved()),
        (None, node(ohai_time=math.inf, ec2=[]), saved()),
        (None, node(ohai_time=NOW + 90000), saved(seen_at=NOW)),
    ],
)
def test_what_a_server_says_is_read_with_care(client, object_, expected):
    assert parse("main", client, object_, ON, {"boss"}) == expected


def test_the_document_has_the_result_of_each_node():
    removed = Sighting("main", Part.REMOVED, Part.GONE)
    nodes = {
        "retired": (removed, Sighting("standby")),
        "gone": (Sighting("main"), Sighting("standby")),
        "kept": (seen(60), Sighting("standby")),
        "unfinished": (removed, Sighting("standby", Part.THERE, Part.THERE, trouble="connection refused")),
    }
    document = retirement.document(nodes, {"kept": refusal("kept", nodes["kept"], users=(), on=ON)}, ON)
    assert [(one["name"], one["result"]) for one in document["nodes"]] == [(name, name) for name in nodes]
    assert [one["objection"] for one in document["nodes"]] == [None, None, "alive", None]
    assert document["nodes"][2]["servers"][0] == {
        "label": "main", "client": "there", "node": "there", "trouble": None,
        "seen_at": "2026-11-30T11:59:00Z", "seen": "60 s ago",
    }  # fmt: skip
    assert not document["whole"]
    assert retirement.document({"gone": nodes["gone"]}, {}, ON)["whole"]
