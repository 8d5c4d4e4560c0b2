"""From the markdown that lessons are written in to HTML, and Python code in colours.

Headings, paragraphs, lists, quotes, tables, rules, code in fences or indented by four spaces (the
equations), images; within a line code, emphasis and links. Underscores are letters here, since
names and formulas are full of them.
"""

import builtins
import io
import keyword
import re
import token
import tokenize
from html import escape

_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*$")
_ITEM = re.compile(r"(?P<indent> *)(?P<mark>[-*+]|\d+[.)])\s+(?P<text>.*)")
_FENCE = re.compile(r"```\s*(\w*)\s*$")
_RULE = re.compile(r"(-{3,}|\*{3,})\s*$")
_DELIMITERS = re.compile(r"\|?(\s*:?-+:?\s*\|)*\s*:?-+:?\s*\|?\s*$")
_IMAGE = re.compile(r"!\[([^\]]*)\]\(([^()\s]+)\)")
_LINK = re.compile(r"\[([^\]]+)\]\(([^()\s]+)\)")
_STRONG = re.compile(r"(?<![\w*])\*\*(?=[^\s*])(.+?)(?<=[^\s*])\*\*(?![\w*])")
_EMPHASIS = re.compile(r"(?<![\w*])\*(?=[^\s*])([^*]+?)(?<=[^\s*])\*(?![\w*])")


def inline(text, link=lambda target: target):
    """The marks within a line.

    Parameters
    ----------
    text : str
    link : callable, optional
        From a target in the text to the target on the page, or None to leave only its words.

    Returns
    -------
    str
    """
    pieces = re.split(r"(`+)(.+?)\1(?!`)", text)
    done = []
    for before, _, code in zip(pieces[::3], [*pieces[1::3], ""], [*pieces[2::3], None]):
        done.append(before)
        if code is not None:
            done.append(f"<code>{escape(code.strip())}</code>")
    # Code is set aside while the rest is marked, so that its stars stay stars.
    kept = done[1::2]
    words = escape("\0".join(done[::2]), quote=False)
    words = _IMAGE.sub(lambda m: _image(m[1], m[2]), words)
    words = _LINK.sub(lambda m: _anchor(m[1], link(m[2])), words)
    words = _EMPHASIS.sub(r"<em>\1</em>", _STRONG.sub(r"<strong>\1</strong>", words))
    for code in kept:
        words = words.replace("\0", code, 1)
    return words


def _anchor(words, target):
    return words if target is None else f'<a href="{escape(target)}">{words}</a>'


def _image(alt, target):
    if not alt.strip():
        raise ValueError(f"the image {target} needs a text alternative: ![text]({target})")
    return f'<img src="{escape(target)}" alt="{escape(alt)}">'


def html(text, link=lambda target: target):
    """Markdown as HTML.

    Parameters
    ----------
    text : str
    link : callable, optional
        As for `inline`.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If an image has no text alternative, or a fence is left open.
    """
    lines, blocks = text.expandtabs(4).splitlines(), []
    while lines:
        if lines[0].strip():
            blocks.append(_block(lines, link))
        else:
            del lines[0]
    return "\n".join(blocks)


def _block(lines, link):
    """Take the block that begins at the first line off the list."""
    first = lines[0]
    if heading := _HEADING.match(first):
        del lines[0]
        depth = len(heading[1])
        return f"<h{depth}>{inline(heading[2], link)}</h{depth}>"
    if fence := _FENCE.match(first):
        return _fenced(lines, fence[1])
    if first.startswith("    "):
        taken = _take(lines, lambda line: line.startswith("    ") or not line.strip())
        return _preformatted(escape("\n".join(line[4:] for line in taken).rstrip()), "equation")
    if _RULE.match(first):
        del lines[0]
        return "<hr>"
    if first.startswith(">"):
        taken = _take(lines, lambda line: line.startswith(">"))
        return f"<blockquote>\n{html(_dedent(taken, r'> ?'), link)}\n</blockquote>"
    if "|" in first and len(lines) > 1 and "|" in lines[1] and _DELIMITERS.match(lines[1]):
        return _table(_take(lines, lambda line: "|" in line), link)
    if _ITEM.match(first):
        return _list(lines, link)
    taken = [lines.pop(0)]
    taken += _take(lines, lambda line: line.strip() and not _begins_a_block(line))
    return f"<p>{inline(' '.join(line.strip() for line in taken), link)}</p>"


def _begins_a_block(line):
    return line.startswith(">") or any(
        pattern.match(line) for pattern in (_HEADING, _FENCE, _RULE, _ITEM)
    )


def _take(lines, belongs):
    taken = []
    while lines and belongs(lines[0]):
        taken.append(lines.pop(0))
    return taken


def _dedent(lines, prefix):
    return "\n".join(re.sub(f"^{prefix}", "", line) for line in lines)


def _preformatted(content, kind):
    # Wide lines scroll within their box, which the keyboard must be able to reach.
    return f'<pre class="{kind}" tabindex="0"><code>{content}</code></pre>'


def _fenced(lines, language):
    del lines[0]
    taken = _take(lines, lambda line: not _FENCE.match(line))
    if not lines:
        raise ValueError(f"the fence ``` before {taken[:1]} is never closed")
    del lines[0]
    text = "\n".join(taken)
    return code(text) if language == "python" else _preformatted(escape(text), "text")


def _table(lines, link):
    rows = [
        re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|")) for line in lines
    ]
    head, _, *body = [[inline(c.strip().replace("\\|", "|"), link) for c in row] for row in rows]
    columns = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "\n".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in body)
    table = f"<table>\n<thead><tr>{columns}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    return f'<div class="wide" tabindex="0">\n{table}\n</div>'


def _list(lines, link):
    """A list, with all that is indented below its items."""
    first = _ITEM.match(lines[0])
    ordered, items = first["mark"][0].isdigit(), []
    while lines and (item := _ITEM.match(lines[0])) and item["indent"] == first["indent"]:
        if item["mark"][0].isdigit() != ordered:
            break
        own = [lines.pop(0)[item.start("text") :]]
        own += _take_item(lines, len(item["indent"]) + 2)
        content = html(_dedent(own, f" {{0,{item.start('text')}}}"), link)
        if content.count("<p>") == 1 and content.startswith("<p>"):
            content = content.replace("<p>", "").replace("</p>", "")
        items.append(f"<li>{content}</li>")
    tag = "ol" if ordered else "ul"
    return f"<{tag}>\n" + "\n".join(items) + f"\n</{tag}>"


def _take_item(lines, indent):
    """What still belongs to an item: indented lines, and blank ones that such a line follows."""
    taken = []
    while lines:
        ahead = next((line for line in lines if line.strip()), "")
        if not ahead.startswith(" " * indent):
            break
        taken.append(lines.pop(0))
    return taken


_BUILTINS = frozenset(dir(builtins))


def _class_of(kind, text, before):
    """What a token is to the reader, or None."""
    if kind == token.COMMENT:
        return "comment"
    if kind == token.STRING or token.tok_name[kind].startswith("FSTRING"):
        return "string"
    if kind == token.NUMBER:
        return "number"
    if kind != token.NAME:
        return None
    if keyword.iskeyword(text):
        return "keyword"
    if before in ("def", "class"):
        return "defined"
    return "builtin" if text in _BUILTINS and before != "." else None


def code(text):
    """Python code with its tokens in colours; each token is a span with a class of its kind."""
    lines = text.splitlines(keepends=True)
    pieces, row, column, before = [], 1, 0, ""

    def advance(to_row, to_column):
        """The text from where we are to there."""
        nonlocal row, column
        passed = []
        while row < to_row:
            passed.append(lines[row - 1][column:])
            row, column = row + 1, 0
        if row <= len(lines):
            passed.append(lines[row - 1][column:to_column])
        column = to_column
        return escape("".join(passed), quote=False)

    for kind, string, start, end, _ in tokenize.generate_tokens(io.StringIO(text).readline):
        if kind in (token.NEWLINE, token.NL, token.INDENT, token.DEDENT, token.ENDMARKER):
            continue
        pieces.append(advance(*start))
        look, content = _class_of(kind, string, before), advance(*end)
        pieces.append(f'<span class="{look}">{content}</span>' if look else content)
        before = string
    return _preformatted("".join(pieces).rstrip(), "python")
