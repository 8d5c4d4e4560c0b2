"""The page of a graph: one file, every node within reach of keyboard and screen reader."""

import html
import json
import re

import numpy as np
import pytest
from page_helpers import Page, check_in_chromium, framed

from geonet import Tensor, graph, ops
from geonet.models import vgg6

REACH = """
  const can = (e) => { e.focus(); return page.activeElement === e && e.tabIndex === 0; };
  const shown = (e) => e.checkVisibility();
  const named = (e, role) => e.computedName.trim() !== "" && (!role || e.computedRole === role);
  const all = (selector) => [...page.querySelectorAll(selector)];
  const groups = all("details.group > summary"), nodes = all("details.node > summary");
  const said = { groups: groups.length, hidden: nodes.filter((e) => !shown(e)).length };
  said.groupsReached = groups.filter((e) => shown(e) && can(e) && named(e)).length;
  for (const e of groups) e.click();
  said.nodesReached = nodes.filter((e) => shown(e) && can(e) && named(e)).length;
  const links = all("svg a");
  said.links = links.length;
  said.linksReached = links.filter((e) => can(e) && named(e, "link")).length;
  for (const e of all("details")) e.open = false;
  const last = links.findLast((e) => e.getAttribute("href").startsWith("#node-"));
  const target = page.getElementById(last.getAttribute("href").slice(1));
  f.contentWindow.location.hash = last.getAttribute("href");
  await new Promise((done) => setTimeout(done, 200));
  said.opened = target.open && shown(target.querySelector("table"));
  said.focused = page.activeElement === target.firstElementChild;
  all(".buttons button")[0].click();
  said.allOpen = all("details:not([open])").length;
  all(".buttons button")[1].click();
  said.allClosed = all("details[open]").length;
  said.loaded = f.contentWindow.performance.getEntriesByType("resource").length;
  return JSON.stringify(said);
"""


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    """A step of a VGG-6 with the channels of the paper, on small pictures, and its page."""
    rng = np.random.default_rng(0)
    model = vgg6("GmP+IMN", num_classes=10, rng=rng)
    x, labels = rng.normal(size=(2, 8, 8, 3)).astype(np.float32), np.array([3, 7])
    with graph.watch(gradients=True):
        loss = ops.cross_entropy(model(x), labels)
    loss.backward()
    found = graph.trace(loss)
    path = tmp_path_factory.mktemp("page") / "graph.html"
    found.html(path, "A step")
    return found, path, path.read_text(encoding="utf-8")


def test_the_page_of_a_vgg6_is_one_small_whole_file(vgg):
    _, path, text = vgg
    assert len(text.encode()) < 2_000_000
    assert [p.name for p in path.parent.iterdir()] == ["graph.html"]
    page = Page(path)  # tags in balance
    assert len(set(page.ids)) == len(page.ids)
    assert page.links
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert not re.search(r"https?:|@import|url\((?!#)|<link|<img|<iframe", text)
    assert '<html lang="en">' in text
    assert "<title>A step</title>" in text
    assert text.count("<h1>") == 1


def test_groups_are_folded_and_every_node_stands_in_one(vgg):
    found, _, text = vgg
    assert "<details open" not in text
    groups = re.findall(r'<details class="group" id="group-\d+"><summary>(.*?)</summary>', text)
    assert [re.sub(" <span.*", "", words) for words in groups] == list(found.groups())
    nodes = re.findall(
        r'<details class="node (\w+)" id="node-(\d+)"><summary>(.*?)</summary>', text
    )
    assert sorted(int(number) for _, number, _ in nodes) == [n.number for n in found.nodes]
    for kind, number, words in nodes:
        node = found.nodes[int(number) - 1]
        assert kind == ("operation" if node.inputs else "parameter")
        said = html.unescape(re.sub("<.*?>", "", words))
        assert said.split()[:2] == [number, node.title]
        assert str(node.shape) in said


def test_a_node_shows_numbers_equations_and_lines(vgg):
    found, _, text = vgg
    node = next(n for n in found.nodes if n.operation == "hyperspherical")
    part = text[text.index(f'id="node-{node.number}"') :]
    part = html.unescape(part[: part.index("</details>")])
    assert node.forward in part
    assert node.backward in part
    for statistics in (node.value, node.gradient):
        assert f"<td>{statistics.norm:.4g}</td>" in part
    assert "loss = ops.cross_entropy(model(x), labels)" in part
    assert 'theta: <a href="#node-1">1 theta</a>' in part


def test_every_link_of_a_drawing_has_a_name(vgg):
    found, _, text = vgg
    links = re.findall(r'<a class="\w+" href="#[\w-]+" aria-label="(.+?)">', text)
    assert len(links) == len(found.nodes) + len(found.groups())
    assert text.count('<svg role="group" aria-label="') == len(found.groups()) + 1


def test_a_value_that_is_not_finite_is_named_at_the_top_and_at_its_node(tmp_path):
    x = Tensor([0.0, 4.0], requires_grad=True, name="x")
    with graph.watch(gradients=True):
        loss = ops.sqrt(x).sum()
    with np.errstate(divide="ignore"):
        loss.backward()
    graph.trace(loss).html(tmp_path / "a" / "page.html")
    text = (tmp_path / "a" / "page.html").read_text(encoding="utf-8")
    assert 'Not finite: <a href="#node-1">1 x</a></p>' in text
    assert '<span class="alarm">gradient: 1 infinite</span></summary>' in text


def test_words_of_the_user_are_escaped(tmp_path):
    x = Tensor([1.0], requires_grad=True, name='<script>alert("&")</script>')
    with graph.watch():
        y = x * 2.0  # <b>
    graph.trace(y).html(tmp_path / "page.html", "<i>{title}</i>")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;i&gt;{title}&lt;/i&gt;" in text
    assert "y = x * 2.0  # &lt;b&gt;" in text
    Page(tmp_path / "page.html")


def test_a_page_without_values_says_how_to_get_them(tmp_path):
    x = Tensor([1.0], requires_grad=True)
    graph.trace(x * x).html(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "were not kept: record inside geonet.graph.watch()." in text


def test_in_chromium_keyboard_and_screen_reader_reach_every_node(vgg):
    found, path, _ = vgg
    (words,) = framed(path.parent, [path], REACH)
    said = json.loads(words)
    links = len(found.nodes) + len(found.groups())
    assert said == {
        "groups": len(found.groups()), "groupsReached": len(found.groups()),
        "hidden": len(found.nodes), "nodesReached": len(found.nodes),
        "links": links, "linksReached": links,
        "opened": True, "focused": True, "allOpen": 0, "allClosed": 0, "loaded": 0,
    }  # fmt: skip


def test_in_chromium_the_page_fits_a_narrow_window(vgg, tmp_path):
    opened = tmp_path / "opened.html"
    opened.write_text(vgg[2].replace("<details ", "<details open "), encoding="utf-8")
    check_in_chromium(tmp_path, [opened])
