"""Upkeeps: one for each server, made when the first is needed."""

import math
import threading
import time
from types import SimpleNamespace
from typing import Any

from chef_failover.engine.scheduler import Scheduler
from chef_failover.engine.upkeep import Upkeep, Upkeeps


def upkeeps(made, scheduler):
    """For one server; ``made`` gets what its upkeep does each time that one is made."""

    def make():
        done = SimpleNamespace(stepped=threading.Event(), reread=[], hurried=[])
        made.append(done)

        def step():
            done.stepped.set()
            return math.inf

        registrar: Any = SimpleNamespace(
            is_ours=True, retry_now=lambda *, replaces: done.hurried.append(replaces), step=step
        )
        care: Any = SimpleNamespace(ask=lambda: done.reread.append("asked"), step=lambda: math.inf)
        yield Upkeep("mainserver", registrar, care, scheduler)

    return Upkeeps(make)


def test_what_is_asked_before_the_start_is_not_lost():
    made, scheduler = [], Scheduler(time.monotonic)
    all_of_them = upkeeps(made, scheduler)
    all_of_them.reread_node("mainserver")
    assert all_of_them.retry_now("mainserver", replaces=False)
    assert not all_of_them.retry_now("nobody", replaces=False)
    all_of_them.start()
    scheduler.start()
    assert made[0].stepped.wait(60)
    all_of_them.stop()
    assert scheduler.stop(10)
    assert len(made) == 1
    assert (made[0].reread, made[0].hurried) == (["asked"] * 2, [False]), "retry_now reads as well"


def test_what_needs_none_makes_none():
    made = []
    all_of_them = upkeeps(made, Scheduler(time.monotonic))
    all_of_them.wake()
    all_of_them.stop()
    assert made == []
