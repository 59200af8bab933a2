"""How the pages become a site; `./dev docs` builds it.

The source is the whole repository, so that links lead where they lead on a git host: README,
CONTRIBUTING and CHANGELOG are pages, too, and other files are given as they are.
"""

import re
from dataclasses import MISSING, fields
from importlib import import_module

from sphinx.pycode import ModuleAnalyzer

import databacked

project = "databacked"
author = "databacked developers"
version = release = databacked.__version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/*.rst", "docs/reference/*", "examples/*/README.md"]
exclude_patterns = [".*", "benchmarks", "dist", "docs/_build", "examples/*/*/**", "src", "tests"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

default_role = "py:obj"
highlight_language = "none"  # a block that says no language is in none
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80

# Nothing is fetched to build the site, so names of other packages lead nowhere.
nitpick_ignore_regex = [(r"py:.*", r"(?!databacked\.).*\..*|[a-z_]+|(.*\.)?(P|R|Json)")]

html_theme = "pydata_sphinx_theme"
html_title = f"databacked {release}"
html_static_path = ["site/databacked.css"]
html_css_files = ["databacked.css"]
html_extra_path = ["site/index.html"]
html_sourcelink_suffix = ""
html_show_sourcelink = False
html_copy_source = False
html_context = {"default_mode": "light"}
html_sidebars = {"README": [], "docs/tutorial": [], "CONTRIBUTING": [], "CHANGELOG": []}
html_theme_options = {
    "navbar_end": ["navbar-icon-links"],  # no dark mode: the pictures of the pages are for paper
    "show_toc_level": 2,
    "footer_start": [],
    "footer_end": [],
    "secondary_sidebar_items": {"README": [], "**": ["page-toc"]},
}

linkcheck_timeout = 15
linkcheck_retries = 2

CONTENTS = """
```{toctree}
:hidden:
docs/tutorial
docs/guide
docs/reference/index
CONTRIBUTING
CHANGELOG
```
"""
"""What the site has below its first page, which a git host has no use for."""


# Overloads are for type checkers; to a reader they are one function.
ModuleAnalyzer.overloads = property(lambda self: {}, lambda self, found: None)

OPTIONS = {"databacked.task": "databacked.graph.step", "databacked.flow": "databacked.flow"}
"""Where it stands what ``**options`` are."""


def add_contents(app, docname, source):
    """Have the readme be the root of the site."""
    if docname == root_doc:
        source[0] += CONTENTS


def tell_signature(app, what, name, thing, options, signature, returns):
    """Show options one by one with their defaults; no signature of what nobody calls to make it."""
    if name in OPTIONS:
        module = import_module(OPTIONS[name])
        shown = [f"{one.name}={default_of(one)!r}" for one in fields(module.Options)]
        return f"(function=None, /, *, {', '.join(shown)})", ""
    if signature == "()" and what in ("class", "exception"):
        return "", ""
    if signature is None:
        return None
    return re.sub(r": [~.\w]*Unpack\[[^]]*\]", "", signature), returns


def default_of(field):
    """Return the default of a dataclass's field."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def lead_home(app, env, node, contnode):
    """Lead from a name to the one documented thing of that name, whatever its module."""
    if node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    last = node["reftarget"].rpartition(".")[2]
    found = {
        (one.docname, one.node_id)
        for name, one in domain.objects.items()
        if name.rpartition(".")[2] == last and not one.aliased
    }
    if len(found) != 1:
        return None
    [(docname, anchor)] = found
    from sphinx.util.nodes import make_refnode

    return make_refnode(app.builder, node["refdoc"], docname, anchor, contnode)


def setup(app):
    """Connect what stands above."""
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-signature", tell_signature)
    app.connect("missing-reference", lead_home)
