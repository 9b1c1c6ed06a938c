"""Caretakers: one for each server, made when the first is needed."""

import math
import threading
from types import SimpleNamespace

from chef_failover.engine.caretaker import Caretaker, Caretakers


def caretakers(made):
    """For one server; ``made`` gets what its caretaker does each time that one is made."""

    def make():
        done = SimpleNamespace(stepped=threading.Event(), reread=[], hurried=[])
        made.append(done)

        def step():
            done.stepped.set()
            return math.inf

        enrolment = SimpleNamespace(is_ours=True, hurry=lambda *, replaces: done.hurried.append(replaces), step=step)
        care = SimpleNamespace(ask=lambda *, in_doubt: done.reread.append(in_doubt), step=lambda: math.inf)
        yield Caretaker("mainserver", enrolment, care)

    return Caretakers(make)


def test_what_is_asked_before_the_start_is_not_lost():
    made = []
    all_of_them = caretakers(made)
    all_of_them.reread("mainserver", in_doubt=True)
    assert all_of_them.hurry("mainserver", replaces=False)
    assert not all_of_them.hurry("nobody", replaces=False)
    all_of_them.start()
    assert made[0].stepped.wait(10)
    all_of_them.stop()
    assert len(made) == 1
    assert (made[0].reread, made[0].hurried) == ([True], [False])


def test_what_needs_none_makes_none():
    made = []
    all_of_them = caretakers(made)
    all_of_them.wake()
    all_of_them.stop()
    assert all_of_them.faults == 0
    assert made == []
