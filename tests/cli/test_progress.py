"""Progress, as a person at a terminal and as a log sees it."""

import io

from chef_failover.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_one_line_for_each_change():
    stream = io.StringIO()
    progress = Progress(stream)
    for lines in (("a: requested", "b: down"), ("a: requested", "b: down"), ("a: associated", "b: down")):
        progress.show(lines)
    assert stream.getvalue() == "a: requested\nb: down\na: associated\n"


def test_a_log_gets_no_line_for_a_countdown():
    stream = io.StringIO()
    progress = Progress(stream)
    for again in ("2 min", "89 s", "88 s", "1 s"):
        progress.show((f"a: requested (connect timed out after 3.0 s), next attempt in {again}",))
    progress.show(("a: requested (connection refused), next attempt in 1 s",))
    assert stream.getvalue() == (
        "a: requested (connect timed out after 3.0 s), next attempt in 2 min\n"
        "a: requested (connection refused), next attempt in 1 s\n"
    )


def test_a_terminal_gets_it_in_place():
    stream = Terminal()
    progress = Progress(stream)
    progress.show(("a: requested", "b: down"))
    progress.show(("a: associated", "b: down"))
    assert stream.getvalue() == "a: requested\nb: down\n\x1b[2F\x1b[Ja: associated\nb: down\n"


def test_a_line_that_is_wider_than_the_terminal_is_cut_so_that_it_stays_one(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    Progress(stream).show(("x" * 50,))
    assert stream.getvalue() == "x" * 19 + "\n"
