import logging
import math

import pytest

from chef_failover.state.saver import Saver


def test_what_is_new_is_written_once_whoever_writes_it():
    written = []
    saver = Saver(lambda: written.append(1))
    saver.step()
    assert written == []
    saver.change()
    saver.change()
    saver.keep()
    saver.step()
    assert written == [1]


def test_trouble_is_said_once_for_each_reason_and_ends_nothing(caplog):
    reasons = iter(["full", "full", None, "full"])

    def save():
        if reason := next(reasons):
            raise OSError(28, reason)

    saver = Saver(save)
    saver.change()
    with caplog.at_level(logging.ERROR):
        assert [saver.step() for _ in range(3)] == [math.inf] * 3
        saver.change()
        saver.step()
    assert caplog.text.count("cannot save the state: full") == 2


def test_who_must_know_that_it_is_kept_is_told_when_it_is_not():
    def save():
        raise OSError(28, "full")

    saver = Saver(save)
    saver.change()
    for _ in range(2):
        with pytest.raises(OSError, match="full"):
            saver.keep()
