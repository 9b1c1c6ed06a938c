"""What is left of text that is not ours."""

import pytest

from chef_failover.printable import LIMIT, VALUE_LIMIT, printable, printable_values, visible
from tests.support.strange_sidecar import ODD


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a\nb\r\nc\td", "a b c d"),
        ("\x1b[2J\x1b]0;x\x07", "[2J ]0;x"),
        ("\x9b31m\x7f\x00", "31m"),
        ("a\u202eb\u2066c\u2069d\u200fe\u061cf", "a b c d e f"),
        ("a\u2028b\u2029c\u0085d\x0be\x0cf", "a b c d e f"),
        ("a\ud800b\ue000c\U000e0041d\u200be\ufefff", "a b c d e f"),
        ("\u00a0 déjà → \U0001f600 ", "déjà → \U0001f600"),
    ],
    ids=["breaks", "escapes", "C1", "bidirectional", "separators", "unseen", "fine"],
)
def test_text_is_on_one_line_and_commands_nothing(text, left):
    assert printable(text) == left


def test_text_is_cut():
    assert printable("x" * 9000) == "x" * LIMIT
    assert printable("x" * 9000, 500) == "x" * 500


def test_what_is_indented_stays_so():
    assert visible('  File "x"\x1b') == '  File "x" '


def test_all_text_of_a_document_is_made_so_and_what_is_no_text_stays():
    document = {ODD: [ODD, {"b": (ODD, 1, None, True, 0.5)}], "long": "x" * 9000}
    clean = printable(ODD)
    assert printable_values(document) == {clean: [clean, {"b": [clean, 1, None, True, 0.5]}], "long": "x" * VALUE_LIMIT}
    assert clean.isprintable()
