"""Messages and documents do without words for which plain English has a better one; see CONTRIBUTING.md."""

import ast
import re

import pytest

from tests.project.test_docs import DOCS, ROOT

WORDS = re.compile(r"\b(whoever|anew|of ours|cannot be had|nobody|somebody)\b", re.IGNORECASE)
PYTHON = sorted((ROOT / "sidecar" / "chef_failover").rglob("*.py"))
RUBY = sorted(path for part in ("lib", "client.d", "ohai") for path in (ROOT / "ruby_shim" / part).rglob("*.rb"))
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def python_strings(source):
    """What a program may show: its string literals, without docstrings."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings)
    return [node.value for node in found if isinstance(node.value, str)]


def ruby_strings(source):
    code = re.sub(r"^\s*#.*$", "", source, flags=re.MULTILINE)
    return re.findall(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', code)


def prose(text):
    return [re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))]


@pytest.mark.parametrize(
    ("shown", "paths"),
    [(python_strings, PYTHON), (ruby_strings, RUBY), (prose, PAGES)],
    ids=["sidecar", "shim", "documents"],
)
def test_what_people_read_has_none_of_these_words(shown, paths):
    assert paths
    found = {path.name: WORDS.findall(" ".join(shown(path.read_text()))) for path in paths}
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize(
    ("shown", "text", "words"),
    [
        (python_strings, '"""Nobody."""\nraise E(f"a fault of ours: {x}")  # anew', ["of ours"]),
        (ruby_strings, '# nobody\nlog "set by somebody else"', ["somebody"]),
        (prose, "Whoever asks:\n```\nanew\n```\n`nobody` is a user.\n", ["Whoever"]),
    ],
)
def test_such_a_word_is_found_where_people_read_it(shown, text, words):
    assert WORDS.findall(" ".join(shown(text))) == words
