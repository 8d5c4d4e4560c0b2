"""Text for the terminal: tables, durations, and errors in the user's input."""


class BadInput(ValueError):
    """The user's input is invalid; the message is shown to the user."""


def aligned(rows):
    """Rows of words as a table, with a rule below the first row."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(word.ljust(w) for word, w in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def duration(seconds):
    """A duration in words: 8 s, 3 min 20 s, 2 h 5 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
