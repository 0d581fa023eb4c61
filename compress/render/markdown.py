"""Text that Markdown shows as it is."""

SPECIAL = "\\`*_[]<>|#~$&"


def plain(text: str) -> str:
    """One line, with everything that Markdown would take for its own escaped.

    Args:
        text: From outside: names of runs, classes, files, reasons of verdicts.
    """
    escaped = "".join(f"\\{char}" if char in SPECIAL else char for char in text)
    return " ".join(escaped.split())
