"""Makes the manual and the shell completions: ``manual.py SHARE``, where SHARE becomes or is /usr/share.

Nothing is written down twice: commands and options are click's; exit codes, configuration keys and troubleshooting are
tables of the pages in docs/; paths are the code's defaults. It needs what the program needs, and docs/.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from click.shell_completion import ShellComplete, get_completion_class

from chef_failover import __version__
from chef_failover.cli.main import cli, commands
from chef_failover.config import settings as config
from chef_failover.config.settings import Config
from chef_failover.node import accepted
from chef_failover.state import document as state

DOCS = Path(__file__).parents[1] / "docs"
NAME = "chef-failover"
COMPLETION_VARIABLE = "_CHEF_FAILOVER_COMPLETE"
COMPLETIONS = {
    "bash": f"bash-completion/completions/{NAME}",
    "zsh": f"zsh/site-functions/_{NAME}",
    "fish": f"fish/vendor_completions.d/{NAME}.fish",
}
_SHIM = "the file that loads the shim into chef-client; the same below /etc/cinc"


def main() -> None:
    """Write every file below the folder that the one argument names."""
    share = Path(sys.argv[1])
    day = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", datetime.now(UTC).timestamp())), UTC)
    _write(share / "man" / "man8" / f"{NAME}.8", program_page(f"{day:%Y-%m-%d}"))
    _write(share / "man" / "man5" / f"{NAME}.yml.5", configuration_page(f"{day:%Y-%m-%d}"))
    for shell, path in COMPLETIONS.items():
        _write(share / path, completion(shell))


class Page:
    """A page of docs/, by its parts."""

    def __init__(self, name: str) -> None:
        self._text = (DOCS / f"{name}.md").read_text(encoding="utf-8")

    def prose(self) -> list[str]:
        """Its headings, from the second level on and with their marks, and its plain paragraphs.

        Blocks, tables, lists and pictures are left out, and a heading that has nothing else.
        """
        text = re.sub(r"^```.*?^```\n|<!--.*?-->", "", self._text, flags=re.DOTALL | re.MULTILINE)
        text = re.sub(r"^(#+ .*)$", r"\n\1\n", text, flags=re.MULTILINE)
        parts = [" ".join(part.split()) for part in text.split("\n\n")]
        kept = [part for part in parts if part and not part.startswith(("|", "!", "# ", "- "))]
        return [
            part
            for part, following in zip(kept, [*kept[1:], "## "], strict=True)
            if not (part.startswith("## ") and following.startswith("## "))
        ]

    def rows(self) -> list[list[str]]:
        """The cells of each row of its tables, without their heads."""
        lines = [line for line in self._text.splitlines() if line.startswith("|")]
        rules = {number for number, line in enumerate(lines) if set(line) <= set("|-: ")}
        heads = rules | {number - 1 for number in rules}
        return [
            [cell.strip() for cell in line[1:].rstrip("|").split("|")]
            for number, line in enumerate(lines)
            if number not in heads
        ]

    def blocks(self, language: str) -> list[str]:
        """Its code blocks in ``language``, but for those in lists."""
        return re.findall(rf"^```{language}\n(.*?)^```", self._text, flags=re.DOTALL | re.MULTILINE)


def program_page(day: str) -> str:
    """chef-failover(8) in roff."""
    codes = {row[0].strip("`").split()[1]: row[2] for row in Page("operating").rows()}
    troubles = Page("troubleshooting")
    lines = [
        _title(NAME, 8, day, "System Administration"),
        ".SH NAME",
        f"{_text(NAME)} \\- {_text(_sentence(cli.help)[0].lower() + _sentence(cli.help)[1:])}",
        ".SH SYNOPSIS",
        f".B {_code(NAME)}",
        r"\fICOMMAND\fR [\fIOPTION\fR]...",
        ".SH DESCRIPTION",
        *_paragraphs(Page("how-it-decides").prose()),
        ".SH COMMANDS",
    ]
    context = _context(cli, NAME)
    for name, command in commands().items():
        lines += _command(name, command, context, codes.get(name, ""))
    lines += [".SH OPTIONS", *_options(cli, context)]
    lines += [".SH EXIT STATUS", *_paragraphs(["Besides what is said of each command:"])]
    lines += _items(
        [("2", "wrong usage or configuration"), ("3", "a bug; please report it"), ("130", "interrupted")], _bold
    )
    lines += [".SH FILES", *_items(files(), _path)]
    lines += [".SH DIAGNOSTICS", *_paragraphs(troubles.prose()), ".SS Messages"]
    lines += _items(
        ((sign, f"{meaning}; do: {remedy}" if remedy else meaning) for sign, meaning, remedy in troubles.rows()), _text
    )
    lines += [".SH SEE ALSO", f".BR {_code(NAME)}.yml (5),", ".BR systemctl (1),", ".BR journalctl (1)"]
    return _page(lines)


def configuration_page(day: str) -> str:
    """chef-failover.yml(5) in roff."""
    lines = [
        _title(f"{NAME}.yml", 5, day, "File Formats"),
        ".SH NAME",
        rf"{_text(NAME)}.yml \- configuration of {_text(NAME)}",
        ".SH SYNOPSIS",
        rf"\fI{_code(str(config.DEFAULT_PATH))}\fR",
        ".SH DESCRIPTION",
        *_paragraphs(Page("configuration").prose()),
        ".SH KEYS",
        *_items(((key, f"{meaning}. Default: {default}") for key, default, meaning in keys()), _bold),
        ".SH EXAMPLES",
    ]
    for block in Page("install").blocks("yaml") + Page("registration").blocks("yaml"):
        lines += [".PP", ".nf", ".RS 4", *(_code(line) or r"\&" for line in block.splitlines()), ".RE", ".fi"]
    lines += [".SH SEE ALSO", f".BR {_code(NAME)} (8)"]
    return _page(lines)


def keys() -> list[tuple[str, str, str]]:
    """Every key with its default and its meaning, in Markdown, as docs/configuration.md has them."""
    return [(key.strip("`"), default, meaning) for key, default, meaning in Page("configuration").rows()]


def files() -> list[tuple[str, str]]:
    """The paths that an operator meets, and what each is."""
    defaults = Config()
    return [
        (str(config.DEFAULT_PATH), "the configuration"),
        (
            str(accepted.path_of(config.DEFAULT_PATH)),
            "what root has accepted of it, for sidecar and chef-client to go by",
        ),
        (str(defaults.listen.socket), "where the sidecar answers, for root and the group of the service"),
        (str(defaults.state_dir / state.FILE_NAME), "what the sidecar remembers"),
        (str(defaults.state_dir / state.UNASSOCIATED_FILE_NAME), "the servers that do not know this node, one a line"),
        ("/etc/chef/client.d/chef_failover.rb", _SHIM),
    ]


def completion(shell: str) -> str:
    """The script that makes ``shell`` complete our command line."""
    found = get_completion_class(shell)
    if found is None:
        raise SystemExit(f"click knows no completion for {shell}")
    # Not the class's own source(): bash's would look for a bash to run, and the one that matters is elsewhere.
    return ShellComplete.source(found(cli, {}, NAME, COMPLETION_VARIABLE)).lstrip("\n")


def _context(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    return click.Context(command, info_name=name, parent=parent, **command.context_settings)


def _command(name: str, command: click.Command, parent: click.Context, codes: str) -> Iterator[str]:
    context = _context(command, name, parent)
    yield f".SS {_code(name)} {_code(' '.join(command.collect_usage_pieces(context)))}"
    yield from _paragraphs(textwrap.dedent(command.help or "").split("\n\n"))
    yield from _options(command, context)
    if codes:
        yield from _paragraphs([f"Exit status: {codes}."])


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    records = (parameter.get_help_record(context) for parameter in command.get_params(context))
    yield from _items((record for record in records if record and record[1]), _bold)


def _items(pairs: Iterable[tuple[str, str]], style: Callable[[str], str]) -> Iterator[str]:
    for term, text in pairs:
        yield ".TP"
        yield style(term)
        yield from _fill(text)


def _paragraphs(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        if text.startswith("## "):
            yield f".SS {_text(text[3:])}"
        else:
            yield ".PP"
            yield from _fill(text)


def _fill(markdown: str) -> Iterator[str]:
    """Lines of running text; words that begin like a request are guarded."""
    for line in textwrap.wrap(_text(" ".join(markdown.split())), 78, break_long_words=False, break_on_hyphens=False):
        yield rf"\&{line}" if line.startswith((".", "'")) else line


def _text(markdown: str) -> str:
    """Markdown's few marks as roff's."""
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", markdown)
    parts = re.split(r"`([^`]+)`", text)
    plain = (re.sub(r"\*\*([^*]+)\*\*|\*([^*]+)\*", _emphasis, _escape(part)) for part in parts[::2])
    code = [_bold(part) for part in parts[1::2]] + [""]
    return "".join(text for pair in zip(plain, code, strict=True) for text in pair)


def _emphasis(found: re.Match[str]) -> str:
    return rf"\fB{found[1]}\fR" if found[1] else rf"\fI{found[2]}\fR"


def _bold(text: str) -> str:
    return rf"\fB{_code(text)}\fR"


def _path(text: str) -> str:
    return rf"\fI{_code(text)}\fR"


def _code(text: str) -> str:
    """What is typed: its hyphens stay hyphens, and nothing in it is a request."""
    escaped = _escape(text).replace("-", r"\-")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _escape(text: str) -> str:
    escaped = text.replace("\\", r"\e").replace("'", r"\(aq").replace("~", r"\(ti").replace("^", r"\(ha")
    return "".join(char if char.isascii() else rf"\[u{ord(char):04X}]" for char in escaped)


def _title(name: str, section: int, day: str, what: str) -> str:
    return f'.TH {_code(name.upper())} {section} {day} "{_code(f"{NAME} {__version__}")}" "{what}"'


def _sentence(text: str | None) -> str:
    return (text or "").partition(".")[0]


def _page(lines: Sequence[str]) -> str:
    """The lines, without paragraphs that would begin right below a heading, where one begins anyway."""
    kept = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if line != ".PP" or before[:3] not in (".SH", ".SS")
    ]
    return "\n".join(kept) + "\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)


if __name__ == "__main__":
    main()
