"""Text from outside in Markdown."""

import pytest

from compress.render.markdown import plain


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("small_cnn", "small\\_cnn"),
        ("a|b", "a\\|b"),
        ("<b>x</b>", "\\<b\\>x\\</b\\>"),
        ("two\nlines", "two lines"),
        ("[x](y)", "\\[x\\](y)"),
        ("issue #1", "issue \\#1"),
    ],
)
def test_text_from_outside_is_no_markdown(text: str, escaped: str) -> None:
    assert plain(text) == escaped
