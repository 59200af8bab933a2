"""What is known of something, as a table of HTML; light: nothing of numpy is imported for it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape


def facts_html(facts: Mapping[str, str]) -> str:
    """Return what is known of something as a table of two columns."""
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left;overflow-wrap:anywhere">{escape(text)}</td></tr>'
        for name, text in facts.items()
    )
    return f"<table><tbody>{rows}</tbody></table>"
