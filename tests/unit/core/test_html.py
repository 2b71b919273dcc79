import re
from html.parser import HTMLParser

from matplotlib.figure import Figure

from nasflow.core import html


class Balance(HTMLParser):
    """Fails on a closing tag that does not close the last open one."""

    VOID = frozenset({"meta", "br", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def line_picture() -> Figure:
    figure = Figure(figsize=(4, 2))
    figure.subplots().plot([1, 2, 3], [3, 1, 2])
    return figure


def test_a_page_is_well_formed_and_needs_no_network() -> None:
    sections = [
        ("Numbers", html.facts({"rows": 12345})),
        ("Table", html.table(["a", "b"], [[1, 2.0]])),
        ("Picture", html.picture(line_picture(), "curve")),
    ]
    text = html.page("Title", "lead", sections).decode()

    balance = Balance()
    balance.feed(text)

    assert balance.open == []
    assert "<script" not in text
    assert not re.search(r'(?:src|href)="(?!#)', text.replace("xlink:href", "href").replace('href="#', 'x="#'))
    assert "12,345" in text


def test_everything_that_a_user_wrote_is_escaped() -> None:
    text = html.page("<b>&", "<script>", [("<i>", html.table(["<u>"], [["<script>alert(1)</script>"]]))]).decode()

    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "&lt;b&gt;&amp;" in text


def test_cells() -> None:
    text = str(html.table(["x"], [[None], [True], [1234567], [0.123456], ["word"]]))

    assert "–" in text
    assert "True" in text
    assert "1,234,567" in text
    assert "0.1235" in text
    assert '<td class="number">1,234,567</td>' in text
    assert "<td>word</td>" in text


def test_equal_pictures_are_equal_bytes() -> None:
    assert html.picture(line_picture(), "a") == html.picture(line_picture(), "a")
