import pytest

from chef_failover.durations import in_words, parse_duration_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("10s", 10), ("1.5s", 1.5), ("5m", 300), ("1h", 3600), ("1d", 86400), ("0s", 0)],
)
def test_durations(text, seconds):
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "5", 5, None, "10 s", "-1s", "1w", "s", "1e3s", "٣s", True, "10s\n"])
def test_anything_else_is_refused_with_what_would_be_right(text):
    with pytest.raises(ValueError, match="500ms, 10s, 5m, 1h or 1d"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 s"), (0.4, "1 s"), (89, "89 s"), (90, "2 min"), (480, "8 min"), (7200, "2 h"), (172800, "2 d")],
)
def test_in_words(seconds, words):
    assert in_words(seconds) == words
