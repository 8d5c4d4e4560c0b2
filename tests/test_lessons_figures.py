"""Figures of the lessons: refused without a text, two files each, animations that stand still."""

import re

import pytest

from lessons import figures


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def line(k=1):
    figure, axes = figures.new(size=(3, 2))
    axes.plot([0, 1], [0, k], **figures.style(k))
    return figure


@pytest.mark.parametrize("alt", ["", "  \n", None])
def test_a_figure_without_a_text_alternative_is_refused(alt):
    with pytest.raises(ValueError, match="alt of figure 'line'"):
        figures.save(line(), "line", alt)
    with pytest.raises(ValueError, match="alt of figure 'line'"):
        figures.animate(line, 2, "line", alt)
    assert not figures.FOLDER.exists()


@pytest.mark.parametrize("name", ["", "../line", "a b", "a.svg"])
def test_a_figure_needs_a_plain_name(name):
    with pytest.raises(ValueError, match="name must be"):
        figures.save(line(), name, "A line.")


def test_a_figure_is_written_twice_and_says_what_it_shows(capsys):
    png, svg = figures.save(line(), "a_line", "A line\n  goes <up>.")
    assert png.read_bytes().startswith(b"\x89PNG")
    text = svg.read_text(encoding="utf-8")
    assert ">a line</title>" in text
    assert ">A line goes &lt;up&gt;.</desc>" in text
    assert "A line goes <up>." in capsys.readouterr().out


def test_an_animation_has_its_frames_a_still_and_buttons():
    page = figures.animate(line, 3, "turning", 'A "line" turns.', still=1)
    text = page.read_text(encoding="utf-8")
    assert len(set(re.findall(r'"(data:image/png;base64,[^"]+)"', text))) == 3
    assert 'alt="A &quot;line&quot; turns."' in text
    assert all(word in text for word in (">Play<", '"Pause"', 'max="2" value="1"'))
    assert not re.search(r"https?://", text)
    assert page.with_suffix(".svg").exists()
    assert page.with_suffix(".png").exists()


def test_styles_differ_in_colour_marker_and_line():
    styles = [figures.style(k) for k in range(len(figures.COLOURS))]
    for key in ("color", "marker", "linestyle"):
        assert len({str(style[key]) for style in styles}) == len(styles)
    assert figures.style(len(styles)) == styles[0]
