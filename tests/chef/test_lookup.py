"""Name lookups that take longer than anybody waits."""

import errno
import socket
import threading

import pytest

from chef_failover.chef.lookup import KEPT_S, MOST, MOST_LATE, Resolver

TIMEOUT_S = 0.05
PATIENT_S = 30.0


class Names:
    """A name service whose answers come when they are given."""

    def __init__(self):
        self.now = 1000.0
        self.asked = threading.Semaphore(0)
        self._given = {}
        self._lock = threading.Lock()
        self.resolver = Resolver(self, lambda: self.now)

    def __call__(self, host, port):
        with self._lock:
            gate, answers = self._given.setdefault(host, (threading.Semaphore(0), []))
        self.asked.release()
        assert gate.acquire(timeout=10 * PATIENT_S), f"the test gave no answer for {host}"
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, port))]

    def give(self, host, answer, *, after_s=0.0):
        """The answer to one lookup, ``after_s`` after now; it is in when this returns."""
        self.now += after_s
        with self._lock:
            gate, answers = self._given.setdefault(host, (threading.Semaphore(0), []))
        answers.append(answer)
        gate.release()

    def is_late(self, host):
        """Somebody asks, waits in vain, and the lookup goes on."""
        with pytest.raises(TimeoutError):
            self.resolver.lookup(host, 443, TIMEOUT_S)
        assert self.asked.acquire(timeout=PATIENT_S)

    def end(self, host, answer, *, after_s):
        """The lookup under way ends ``after_s`` from now."""
        (thread,) = [one for one in threading.enumerate() if one.name == f"lookup {host}"]
        self.give(host, answer, after_s=after_s)
        thread.join(PATIENT_S)

    def asks(self, host, timeout_s=PATIENT_S):
        """What who asks now gets, waiting for it as long as need be."""
        try:
            return self.resolver.lookup(host, 443, timeout_s)[0][4][0]
        except OSError as error:
            return error


@pytest.fixture
def names():
    return Names()


def test_an_answer_that_came_late_is_for_who_asks_next(names):
    names.is_late("a")
    names.end("a", "192.0.2.1", after_s=5.0)
    assert [names.asks("a"), names.asks("a")] == ["192.0.2.1"] * 2  # while the next lookup hangs
    names.end("a", "192.0.2.2", after_s=40.0)
    assert names.asks("a") == "192.0.2.2"
    names.end("a", "192.0.2.3", after_s=40.0)


def test_so_is_a_failure_that_came_late(names):
    names.is_late("a")
    names.end("a", socket.gaierror(socket.EAI_AGAIN, "no answer"), after_s=30.0)
    assert names.asks("a", TIMEOUT_S).errno == socket.EAI_AGAIN  # since the next lookup hangs
    names.end("a", "192.0.2.1", after_s=40.0)
    assert names.asks("a") == "192.0.2.1"
    names.end("a", "192.0.2.1", after_s=0.0)


def test_a_failure_that_came_late_is_for_nobody_whose_lookup_works_now(names):
    names.is_late("a")
    names.end("a", socket.gaierror(socket.EAI_AGAIN, "no answer"), after_s=30.0)
    names.give("a", "192.0.2.1")
    assert names.asks("a") == "192.0.2.1"


def test_what_comes_in_time_is_for_nobody_else(names):
    names.is_late("a")
    names.end("a", "192.0.2.1", after_s=5.0)
    assert names.asks("a") == "192.0.2.1"
    names.end("a", "192.0.2.2", after_s=0.0)
    names.give("a", "192.0.2.3")
    assert names.asks("a") == "192.0.2.3"


def test_what_came_late_holds_for_some_time_only(names):
    names.is_late("a")
    names.end("a", "192.0.2.1", after_s=5.0)
    names.now += KEPT_S
    names.give("a", "192.0.2.2")
    assert names.asks("a") == "192.0.2.2"


def test_many_names_that_hang_leave_room_for_others(names):
    for number in range(20):
        names.is_late(f"hanging-{number}")
    names.give("well", "192.0.2.1")
    assert names.asks("well") == "192.0.2.1"
    for number in range(20):
        names.give(f"hanging-{number}", "192.0.2.9")


def test_names_that_were_late_leave_most_of_the_room_to_others(names):
    names.is_late("late")
    names.end("late", socket.gaierror(socket.EAI_AGAIN, "no answer"), after_s=30.0)
    names.now += KEPT_S
    for number in range(MOST_LATE):
        names.is_late(f"hanging-{number}")
    assert names.asks("late").errno == socket.EAI_AGAIN
    for number in range(MOST_LATE, MOST):
        names.is_late(f"hanging-{number}")
    refused = names.asks("well")
    assert (refused.errno, refused.strerror) == (errno.ENOBUFS, f"{MOST} other name lookups are in progress")
    for number in range(MOST):
        names.give(f"hanging-{number}", "192.0.2.9")
