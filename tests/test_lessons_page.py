"""The pages of the course: every image has a text, every link leads somewhere, all is offline."""

import html
import re

import pytest
from page_helpers import Page, check_in_chromium

from lessons import markdown, page, percent, running

LESSON = """\
# %% [markdown]
# # 01 · A *small* lesson
# Goal: show that `a < b`
#   and more.
# Minutes: 5
# Difficulty: 1 of 5
# Symbols: x input, s_k product
# Before: nothing
#
# Text before the code.

# %%
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# %%
from matplotlib.figure import Figure

from lessons import figures

print("one <b> & two")

# %% [markdown]
# ## A heading
# A paragraph with **strong** words, [the next](02_next.py), [a site](https://example.org) and
# [a file](../README.md).
#
#     u = w/‖w‖ <equation>
#
# - one
# - two
#
# | a | b |
# |---|---|
# | 1 | `x|y` |

# %%
figure = Figure()
figure.subplots().plot([0, 1])
figures.save(figure, "line", alt='A "line" <that> rises', title="A line & more")
figures.animate(lambda k: Figure(), 2, "moving", "Nothing moves.")
"""
FAILING = LESSON.replace("01 · A *small*", "02 · Next").replace('print("one <b> & two")', "1 / 0")


def check_site(folder):
    """All that holds for every page that `html` writes."""
    pages = sorted(folder.rglob("*.html"))
    assert folder / "index.html" in pages
    for path in pages:
        read, text = Page(path), path.read_text(encoding="utf-8")
        assert len(set(read.ids)) == len(read.ids)
        assert 'lang="en"' in text
        assert 'name="viewport"' in text
        assert all(image.get("alt", "").strip() for image in read.images)
        for target in read.links:
            if target.startswith("data:image/"):
                continue
            file, _, place = target.partition("#")
            if re.match(r"https?:", target):  # for the reader to follow, nothing to load
                assert f'<a href="{target}">' in text
                continue
            other = (path.parent / file) if file else path
            assert other.is_file(), f"{path.name} links to {target}"
            assert not place or place in Page(other).ids
    return pages


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Two small lessons as pages, of which the second fails; and the exit status."""
    root = tmp_path_factory.mktemp("course")
    sources = {"01_small.py": LESSON, "02_next.py": FAILING}
    for name, text in sources.items():
        (root / name).write_text(text, encoding="utf-8")
    status = page.html(root / "out", lessons=[root / name for name in sources])
    return root / "out", status


def test_every_image_has_a_text_and_every_link_works(site):
    names = {path.name for path in check_site(site[0])}
    assert names == {"index.html", "notation.html", "01_small.html", "02_next.html", "moving.html"}


def test_students_see_the_notation_and_glossary_of_the_guide(site):
    shown = (site[0] / "notation.html").read_text(encoding="utf-8")
    assert "<h2>Notation</h2>" in shown
    assert "<h2>Glossary</h2>" in shown
    assert "<td>λ</td><td><code>lambda_</code></td>" in shown
    assert "Probes" not in shown


def test_a_page_shows_text_code_output_and_figures(site):
    text = (site[0] / "01_small.html").read_text(encoding="utf-8")
    assert "<h1>01 · A <em>small</em> lesson</h1>" in text
    assert "<dt>Goal</dt><dd>show that <code>a &lt; b</code> and more.</dd>" in text
    assert "<p>Text before the code.</p>" in text
    assert "<samp>one &lt;b&gt; &amp; two</samp>" in text
    assert "u = w/‖w‖ &lt;equation&gt;" in text
    assert '<a href="02_next.html">the next</a>' in text
    assert '<a href="https://example.org">a site</a>' in text
    assert "a file" in text
    assert "README" not in text
    assert "Figure results" not in text  # the figure itself is shown
    assert [i["src"] for i in Page(site[0] / "01_small.html").images] == [
        "figures/line.svg",
        "figures/moving.svg",
    ]
    assert Page(site[0] / "01_small.html").images[0]["alt"] == 'A "line" <that> rises'
    assert '<a href="figures/moving.html">Play the animation</a>' in text


def test_a_lesson_that_fails_shows_where_and_does_not_stop_the_others(site):
    text = (site[0] / "02_next.html").read_text(encoding="utf-8")
    assert site[1] == 1
    line = 1 + FAILING[: FAILING.index("1 / 0")].count("\n")
    assert f"02_next.py&quot;, line {line}, in" in text
    assert "ZeroDivisionError" in text
    assert "Failed" in text


def test_without_running_there_is_no_output(tmp_path):
    (tmp_path / "01_small.py").write_text(LESSON, encoding="utf-8")
    assert page.html(tmp_path / "out", run=False, lessons=[tmp_path / "01_small.py"]) == 0
    text = (tmp_path / "out" / "01_small.html").read_text(encoding="utf-8")
    assert "samp" not in text
    assert "<img" not in text
    check_site(tmp_path / "out")


def test_a_lesson_whose_process_dies_is_reported(tmp_path):
    path = tmp_path / "01_small.py"
    path.write_text(LESSON.replace('print("one <b> & two")', "import os; os._exit(3)"))
    (shown,) = running.run(percent.read(path), tmp_path)
    assert shown.failed
    assert "status 3" in shown.output


@pytest.mark.parametrize("path", percent.paths(), ids=lambda path: path.stem)
def test_every_lesson_can_be_set(path):
    lesson = percent.read(path)
    code = [cell.text for cell in lesson.cells if cell.kind == "code"]
    for cell in code:  # the colours leave every character of the code in its place
        words = html.unescape(re.sub(r"<[^>]*>", "", markdown.code(cell)))
        assert words == cell
    compile("\n".join(code), path.name, "exec")
    for cell in lesson.cells:
        if cell.kind == "markdown":
            shown = markdown.html(cell.text)
            assert not re.search(r"\*\*|(?<!`)``(?!`)|\]\(", re.sub(r"<code>.*?</code>", "", shown))


@pytest.mark.slow
def test_the_whole_course_runs_and_becomes_pages(tmp_path):
    assert page.html(tmp_path / "out") == 0
    pages = check_site(tmp_path / "out")
    lessons = [path for path in pages if re.match("[0-9]", path.name) and path.parent.name == "out"]
    assert len(lessons) == 12
    for path in lessons:
        assert Page(path).images, f"{path.name} has no figure"
    check_in_chromium(tmp_path / "out", lessons)


def test_the_pages_fit_a_narrow_window(site):
    check_in_chromium(site[0], [site[0] / "index.html", site[0] / "01_small.html"])


def rendered(text):
    return markdown.html(text).replace("\n", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# One `two`", "<h1>One <code>two</code></h1>"),
        ("a\nb\n\nc", "<p>a b</p><p>c</p>"),
        ("- a\n  b\n- c", "<ul><li>a b</li><li>c</li></ul>"),
        ("1. a\n2. b", "<ol><li>a</li><li>b</li></ol>"),
        ("- a\n  - b\n- c", "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>"),
        ("> a\n> b", "<blockquote><p>a b</p></blockquote>"),
        ("---", "<hr>"),
        ("*a* **b** 2 * 3 * 4", "<p><em>a</em> <strong>b</strong> 2 * 3 * 4</p>"),
        ("s_k and t_k, a*b*c", "<p>s_k and t_k, a*b*c</p>"),
        ("`a * b * c` and `<x>`", "<p><code>a * b * c</code> and <code>&lt;x&gt;</code></p>"),
        ("a < b & c", "<p>a &lt; b &amp; c</p>"),
        ("[a](b.py)", '<p><a href="b.py">a</a></p>'),
        ('![a "b"](c.png)', '<p><img src="c.png" alt="a &quot;b&quot;"></p>'),
    ],
)
def test_markdown_becomes_html(text, shown):
    assert rendered(text) == shown


def test_tables_and_fences_become_html():
    table = rendered("| a | b |\n|---|:-:|\n| 1 | *2* |")
    assert '<th scope="col">a</th><th scope="col">b</th>' in table
    assert "<tr><td>1</td><td><em>2</em></td></tr>" in table
    assert "x &lt; 1" in rendered("```\nx < 1\n```")
    assert '<span class="keyword">def</span>' in rendered("```python\ndef f(): pass\n```")


def test_what_is_wrong_with_a_lesson_is_said():
    with pytest.raises(ValueError, match=r"needs a text alternative"):
        markdown.html("![ ](a.png)")
    with pytest.raises(ValueError, match="never closed"):
        markdown.html("```\nx")
    with pytest.raises(ValueError, match="line 2: markdown must begin with '#'"):
        percent.cells("# %% [markdown]\nx = 1\n")
    with pytest.raises(ValueError, match="must begin with '# %%'"):
        percent.cells("x = 1\n# %%\n")


def test_a_header_must_be_whole(tmp_path):
    path = tmp_path / "01_a.py"
    path.write_text("# %% [markdown]\n# # 01 · A\n# Goal: b\n# Minutes: 3\n")
    with pytest.raises(ValueError, match="lacks Difficulty, Symbols, Before"):
        percent.read(path)
