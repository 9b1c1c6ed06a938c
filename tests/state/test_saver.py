import logging
import threading

from chef_failover.state.saver import Saver
from tests.support.daemon_process import until


def test_every_change_is_kept_and_many_may_become_one():
    written, gate = [], threading.Event()

    def save():
        gate.wait(10)
        written.append(1)

    saver = Saver(save)
    saver.start()
    for _ in range(100):
        saver.change()
    gate.set()
    saver.stop(5.0)
    assert 1 <= len(written) <= 2


def test_a_disk_that_hangs_does_not_keep_us_from_stopping():
    gate, entered = threading.Event(), threading.Event()

    def save():
        entered.set()
        gate.wait(30)

    saver = Saver(save)
    saver.start()
    saver.change()
    assert entered.wait(10)
    stopping = threading.Thread(target=saver.stop, args=(0.05,))
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

    saver = Saver(save)
    saver.start()
    with caplog.at_level(logging.ERROR):
        for count in range(1, 5):
            saver.change()
            until(lambda count=count: len(seen) == count)
        saver.stop(5.0)
    assert caplog.text.count("cannot be written: full") == 2
