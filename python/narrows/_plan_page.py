"""The page that Plan.to_html() writes: a template that carries the plan's JSON."""

from pathlib import Path

# Harmless anywhere in HTML: inside of a script element "</script>" and "<!--" would not be.
_ESCAPES = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


def page(plan_json: str) -> str:
    """The page for a plan, given as Plan.to_json() writes it."""
    template = Path(__file__).with_name("plan_page.html").read_text(encoding="utf-8")
    return template.replace("PLAN_JSON", plan_json.translate(_ESCAPES), 1)
