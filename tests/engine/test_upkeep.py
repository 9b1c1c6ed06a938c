"""Upkeeps: one for each server, made when the first is needed."""

import math
import threading
from types import SimpleNamespace

from chef_failover.engine.upkeep import Upkeep, Upkeeps


def upkeeps(made):
    """For one server; ``made`` gets what its upkeep does each time that one is made."""

    def make():
        done = SimpleNamespace(stepped=threading.Event(), reread=[], hurried=[])
        made.append(done)

        def step():
            done.stepped.set()
            return math.inf

        registrar = SimpleNamespace(
            is_ours=True, retry_now=lambda *, replaces: done.hurried.append(replaces), step=step
        )
        care = SimpleNamespace(ask=lambda *, in_doubt: done.reread.append(in_doubt), step=lambda: math.inf)
        yield Upkeep("mainserver", registrar, care)

    return Upkeeps(make)


def test_what_is_asked_before_the_start_is_not_lost():
    made = []
    all_of_them = upkeeps(made)
    all_of_them.reread_node("mainserver", in_doubt=True)
    assert all_of_them.retry_now("mainserver", replaces=False)
    assert not all_of_them.retry_now("nobody", replaces=False)
    all_of_them.start()
    assert made[0].stepped.wait(10)
    all_of_them.stop()
    assert len(made) == 1
    assert (made[0].reread, made[0].hurried) == ([True], [False])


def test_what_needs_none_makes_none():
    made = []
    all_of_them = upkeeps(made)
    all_of_them.wake()
    all_of_them.stop()
    assert all_of_them.faults == 0
    assert made == []
