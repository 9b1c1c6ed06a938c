"""Progress, as a person at a terminal and as a log sees it."""

import io

from click.testing import CliRunner

from chef_failover.cli import register
from chef_failover.cli.progress import Progress
from tests.cli.test_tables import UNREGISTERED, document
from tests.support.builders import holding
from tests.support.daemon_process import write_config


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


def test_wait_says_what_holds_once_it_has_hurried_a_server(servers, tmp_path, monkeypatch):
    asked = []

    def known(config, *, refresh=False):
        told = document(holding("a"), holding("b", registration=UNREGISTERED), current="a")
        told["servers"][1]["association_retry_in_s"] = None if "/v1/servers/b/associate" in asked else 480.0
        return told

    monkeypatch.setattr(register, "known", known)
    monkeypatch.setattr(register, "ask", lambda config, target, **_: asked.append(target))
    path = write_config(tmp_path, servers)
    arguments = ["--associated", "--all", "--timeout", "1ms", "--config", str(path)]
    said = CliRunner().invoke(register.wait, arguments).stderr
    assert "b: unassociated\n" in said
    assert "registers in" not in said
