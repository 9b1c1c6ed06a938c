import logging
import math

import pytest

from chef_failover.state.saver import Saver


def test_trouble_is_said_once_for_each_reason_and_ends_nothing(caplog):
    reasons = iter(["full", "full", None, "full"])

    def save():
        if reason := next(reasons):
            raise OSError(28, reason)

    saver = Saver(save)
    with caplog.at_level(logging.ERROR):
        assert [saver.step() for _ in range(4)] == [math.inf] * 4
    assert caplog.text.count("cannot be written: full") == 2


def test_who_must_know_that_it_is_kept_is_told_when_it_is_not():
    def save():
        raise OSError(28, "full")

    with pytest.raises(OSError, match="full"):
        Saver(save).save_now()
