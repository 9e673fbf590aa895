"""The documentation site: Sphinx over MyST Markdown; the tables of the reference are the code's."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging

import gradconform

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
generated = import_module("generated")

project = "gradconform"
author = "the gradconform developers"
release = version = gradconform.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
autodoc_typehints = "signature"
#: What these stand for says less than their names.
autodoc_type_aliases = {name: name for name in ("Dtype", "Files", "MeanOver", "Schedule", "Tap", "Value")}
#: Single backquotes in docstrings are code; two hyphens are an option's.
default_role = "literal"
smartquotes_action = "qe"
nitpicky = False
html_theme = "alabaster"
html_theme_options = {
    "description": "The conformance suite for gradients", "page_width": "1240px", "sidebar_width": "240px",
    "fixed_sidebar": True,
}  # fmt: skip
html_static_path = ["_static"]
html_css_files = ["site.css"]
#: In a signature one parameter a line where it is longer.
maximum_signature_line_length = 90
html_show_copyright = False

for page in generated.stale(HERE):
    logging.getLogger(__name__).warning("%s is not what the code says: python docs/site/generated.py", page.name)


def mathml(formula: str, display: str = "inline") -> str:
    """MathML, which browsers draw themselves: a page needs no network. Bars enclose, they do not relate."""
    bar = re.compile(r"<mo(?: stretchy=\"false\")?>(&#x0007C;|&#x02016;)</mo>")
    return bar.sub(r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>', convert(formula, display=display))


def setup(app: Any) -> None:
    def inline(translator: Any, node: Any) -> None:
        translator.body.append(mathml(node.astext()))
        raise nodes.SkipNode

    def display(translator: Any, node: Any) -> None:
        translator.body.append(f"<p>{mathml(node.astext(), 'block')}</p>")
        raise nodes.SkipNode

    app.add_html_math_renderer("mathml", (inline, None), (display, None))


html_math_renderer = "mathml"
