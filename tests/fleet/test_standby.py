"""Whether a server could take a node over, by what the node says of it."""

import datetime

import pytest

from chef_failover.fleet.standby import Barrier, Caution, Standby, first_of, judge, of_node

ON = datetime.datetime(2026, 11, 22, 10, 0, tzinfo=datetime.UTC)
WELL = {
    "health": "UP", "association": "associated", "ready": True, "may_save": True, "standing": "eligible",
    "stale": False, "has_object": True, "certificate_ends": "2027-11-22T10:00:00Z",
}  # fmt: skip


def judged(**changes):
    return judge("b", WELL | changes, is_drained=False, on=ON)


@pytest.mark.parametrize(
    ("changes", "obstacle"),
    [
        ({}, None),
        ({"may_save": None, "has_object": None, "standing": None}, None),
        ({"standing": "drained"}, None),
        ({"standing": "stale"}, None),
        ({"association": "refused"}, Barrier.NOT_REGISTERED),
        ({"association": "failed", "standing": "turns_node_away"}, Barrier.NOT_REGISTERED),
        ({"standing": "turns_node_away"}, Barrier.TURNED_AWAY),
        ({"health": "DOWN"}, Barrier.DOWN),
        ({"health": "UNKNOWN"}, Barrier.DOWN),
        ({"standing": "failing"}, Barrier.DOWN),
        ({"ready": False, "has_object": False}, Barrier.NO_OBJECT),
        ({"ready": False, "has_object": True}, Barrier.NOT_READY),
        ({"may_save": False}, Barrier.CANNOT_SAVE),
        ({"unread": True}, Barrier.NOT_READ),
        ({"unread": True, "may_save": False}, Barrier.CANNOT_SAVE),
        ({"unread": True, "standing": "impaired"}, Barrier.IMPAIRED),
        ({"standing": "impaired"}, Barrier.IMPAIRED),
        ({"standing": "fails_runs"}, Barrier.FAILS_RUNS),
    ],
)
def test_what_keeps_a_server_from_taking_over(changes, obstacle):
    assert judged(**changes).barrier is obstacle


@pytest.mark.parametrize(
    ("changes", "cautions"),
    [
        ({}, ()),
        ({"certificate_ends": None}, ()),
        ({"stale": True}, (Caution.STALE,)),
        ({"certificate_ends": "2026-12-13T10:00:01Z"}, ()),
        ({"certificate_ends": "2026-12-13T09:59:59Z", "stale": True}, (Caution.STALE, Caution.CERTIFICATE_ENDS)),
        ({"certificate_ends": "2026-11-01T00:00:00Z"}, (Caution.CERTIFICATE_ENDS,)),
    ],
)
def test_what_is_wrong_with_a_server_that_works(changes, cautions):
    assert judged(**changes) == Standby("b", None, cautions)


@pytest.mark.parametrize("gone", ["association", "health", "ready", "may_save"])
def test_an_entry_that_says_too_little_is_told(gone):
    with pytest.raises(KeyError):
        judge("b", {key: value for key, value in WELL.items() if key != gone}, is_drained=False, on=ON)


@pytest.mark.parametrize(
    "odd",
    [float("inf"), float("nan"), 10**400, -(10**400), 1_000_001, True, "1", None, [1]],
    ids=lambda odd: str(odd)[:20],
)
def test_a_priority_that_no_sidecar_has_is_told(odd):
    assert judged(priority=999_999).priority == 999_999
    with pytest.raises(ValueError, match="b has no priority"):
        judged(priority=odd)


def test_a_drained_server_is_the_last_resort():
    drained, down, well = Standby("b", is_drained=True), Standby("c", Barrier.DOWN), Standby("d")
    assert first_of((drained, down, well)) is well
    assert first_of((drained, down)) is drained
    assert first_of((down,)) is None


def document(*servers, **more):
    entries = [WELL | {"name": name, "drain": None, "lacks": []} | changes for name, changes in servers]
    return {"choice": "a", "pin": None, "offline": None, "servers": entries} | more


def test_the_node_itself_says_who_could_take_over():
    main = ("a", {"health": "DOWN"})
    said = of_node(document(main, ("b", {"lacks": ["is stale: web 1.0.0"]})), on=ON)
    assert said == {"schema": 1, "standby": "b", "reason": None, "but": ["is stale: web 1.0.0"], "servers": []}
    refused = ("b", {"association": "refused", "lacks": ["does not accept this node"]})
    said = of_node(document(main, refused, ("c", {"standing": "failing"})), on=ON)
    assert (said["standby"], said["reason"]) == (None, "none of them is ready")
    assert said["servers"] == [
        {"name": "b", "obstacle": "not_registered", "lacks": ["does not accept this node"]},
        {"name": "c", "obstacle": "down", "lacks": ["it is not UP"]},
    ]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"error": "refused"}, "the sidecar is down: refused"),
        ({"offline": "no route"}, "this node is offline: no route"),
        ({"pin": {"server": "a", "strict": True}}, "this node is pinned strictly to a"),
        ({"pin": {"server": "a", "strict": False}}, None),
        ({"pin": {"server": "b", "strict": True}}, None),
    ],
)
def test_without_any_standby_the_reason_is_the_nodes_own(more, reason):
    assert of_node(document(("a", {}), ("b", {}), **more), on=ON)["reason"] == reason


def test_one_server_alone_has_no_standby():
    assert of_node(document(("a", {})), on=ON)["reason"] == "no other server is configured"
