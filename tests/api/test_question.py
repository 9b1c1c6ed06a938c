"""What ``GET /v1/server`` may be asked."""

import math

import pytest

from chef_failover.api.question import Question


@pytest.mark.parametrize(
    ("query", "question"),
    [
        ("", Question()),
        ("wait=no", Question(waits=False)),
        ("max_age=0", Question(max_age_s=0.0)),
        ("wait=no&max_age=0.125", Question(waits=False, max_age_s=0.125)),
        ("max_age=60&wait=no", Question(waits=False, max_age_s=60.0)),
        ("colour=red", Question()),
    ],
)
def test_it_is_understood(query, question):
    assert Question.parse(query) == question


SECONDS = "write seconds such as 0.5"


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("wait=yes", "wait is 'yes'; write no, or leave it out"),
        ("wait=", "wait is ''; write no, or leave it out"),
        *((f"max_age={text}", SECONDS) for text in ("", "-1", "1e9", "nan", "1s", "9" * 10)),
    ],
)
def test_what_makes_no_sense_says_what_would(query, why):
    with pytest.raises(ValueError, match=why):
        Question.parse(query)


def test_somebody_who_may_not_hurry_gets_what_there_is():
    assert Question.parse("wait=no&max_age=0").unhurried() == Question(waits=False, max_age_s=math.inf)
