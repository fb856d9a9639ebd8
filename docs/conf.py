"""Settings of Sphinx, which makes the site: `make docs`, then build/docs/index.html."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import reference_pages

project = "narrows"
author = "the narrows authors"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "narrows"
default_role = "code"  # `this` in docstrings
myst_heading_anchors = 3


def setup(app) -> None:
    app.connect("builder-inited", lambda app: reference_pages.write(Path(app.srcdir) / "reference"))
