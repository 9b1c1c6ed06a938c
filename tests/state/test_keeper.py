import logging
import threading

from chef_failover.state.keeper import Keeper
from tests.support.daemon_process import until


def test_every_change_is_kept_and_many_may_become_one():
    written, gate = [], threading.Event()

    def save():
        gate.wait(10)
        written.append(1)

    keeper = Keeper(save)
    keeper.start()
    for _ in range(100):
        keeper.change()
    gate.set()
    keeper.stop(5.0)
    assert 1 <= len(written) <= 2


def test_a_disk_that_hangs_does_not_keep_us_from_stopping():
    gate, entered = threading.Event(), threading.Event()

    def save():
        entered.set()
        gate.wait(30)

    keeper = Keeper(save)
    keeper.start()
    keeper.change()
    assert entered.wait(10)
    stopping = threading.Thread(target=keeper.stop, args=(0.05,))
    stopping.start()
    stopping.join(10)
    assert not stopping.is_alive()
    gate.set()


def test_trouble_is_said_once_for_each_reason(caplog):
    reasons = iter(["full", "full", None, "full"])
    seen = []

    def save():
        reason = next(reasons)
        seen.append(reason)
        if reason:
            raise OSError(28, reason)

    keeper = Keeper(save)
    keeper.start()
    with caplog.at_level(logging.ERROR):
        for count in range(1, 5):
            keeper.change()
            until(lambda count=count: len(seen) == count)
        keeper.stop(5.0)
    assert caplog.text.count("cannot be written: full") == 2
