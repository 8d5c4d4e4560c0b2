"""HTML pages: read by a parser, and looked at in headless Chromium where it is installed."""

import html.parser
import re
import shutil
import subprocess

import pytest

VOID = {"meta", "link", "img", "hr", "br", "input"}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
OPTIONS = "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"


class Page(html.parser.HTMLParser):
    """Tags in balance, images, and links of a page."""

    def __init__(self, path):
        super().__init__()
        self.open, self.images, self.links, self.ids, self.text = [], [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(values)
        if "id" in values:
            self.ids.append(values["id"])
        self.links += [values[name] for name in ("href", "src") if name in values]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def in_chromium(folder, page, action):
    """What Chromium, without a network, says on standard output after an action on a page."""
    if not CHROMIUM:
        pytest.skip("Chromium is not installed")
    options = *OPTIONS, f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000"
    command = [CHROMIUM, *options, "--enable-blink-features=ComputedAccessibilityInfo", action]
    command.append(page.as_uri())
    return subprocess.run(command, capture_output=True, text=True, timeout=300).stdout


def framed(folder, pages, script):
    """What a script says of pages that it finds in frames of 360 pixels: a text for each.

    The script is the body of a function of a frame `f` with its `page`, a document.
    """
    frames = "".join(f'<iframe width="360" height="600" src="{p.name}"></iframe>' for p in pages)
    (folder / "frames.html").write_text(f"""<body>{frames}<p id="said"></p><script>
    const look = async (f) => {{ const page = f.contentDocument; {script} }};
    onload = async () => {{
      const said = await Promise.all([...document.querySelectorAll("iframe")].map(look));
      document.getElementById("said").textContent = said.join("; ");
    }};
    </script></body>""")
    seen = in_chromium(folder, folder / "frames.html", "--dump-dom")
    return re.search('<p id="said">(.*)</p>', seen, re.DOTALL)[1].split("; ")


def check_in_chromium(folder, pages):
    """In a window of 360 pixels nothing is cut off, no image is missing, and it can be printed."""
    script = """
      const bad = [...page.images].filter((i) => !i.complete || i.naturalWidth === 0).length;
      return `${page.documentElement.scrollWidth <= f.contentWindow.innerWidth} ${bad}`;"""
    assert framed(folder, pages, script) == ["true 0"] * len(pages)
    for path in pages[:2]:
        printed = path.with_suffix(".pdf")
        in_chromium(folder, path, f"--print-to-pdf={printed}")
        assert printed.read_bytes().startswith(b"%PDF")
