"""Words for the terminal: tables, durations, and what is wrong with the user's input."""


class BadInput(ValueError):
    """Something that the user gave is of no use; the message is for them."""


def aligned(rows):
    """Rows of words as a table with a rule below the first."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(word.ljust(w) for word, w in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def duration(seconds):
    """A duration for people: 8 s, 3 min 20 s, 2 h 5 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
