"""Sphinx configuration. The site builds and reads without a network: no intersphinx, no remote fonts or scripts."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml

import timelens

project = "timelens"
author = "The timelens developers"
copyright = author  # noqa: A001
version = release = timelens.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples", "gallery/*.ipynb", "gallery/*.py", "**/sg_execution_times.rst"]
templates_path = ["_templates"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "smartquotes"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache", "ref.python"]

autosummary_generate = True
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 100
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "write_computation_times": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e6,
}

html_theme = "pydata_sphinx_theme"
html_title = "timelens"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["timelens.css"]
html_sidebars = {"*": []}  # a page of the top level has nothing to list there, and needs the room
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_math_renderer = "mathml"


def _mathml(writer: Any, node: nodes.math | nodes.math_block, *, block: bool) -> None:
    # Browsers draw MathML themselves, where the usual renderer would fetch a script.
    try:
        text = tex2mathml(node.astext(), as_block=block)
    except MathError:
        text = f"<code>{writer.encode(node.astext())}</code>"
    writer.body.append(f'<div class="math">{text}</div>' if block else text)
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Register the offline renderer of formulas."""
    app.add_html_math_renderer(
        "mathml",
        (lambda writer, node: _mathml(writer, node, block=False), None),
        (lambda writer, node: _mathml(writer, node, block=True), None),
    )
