"""How the pages become a site; `./dev docs` builds it.

The source is the whole repository, so that links lead where they lead on a git host: README,
CONTRIBUTING and CHANGELOG are pages, too, and other files are given as they are.
"""

import re

from sphinx.pycode import ModuleAnalyzer
from sphinx.util.nodes import make_refnode

import databacked
from databacked import errors

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
numpydoc_show_class_members = False
smartquotes = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80

# Nothing is fetched to build the site, so names of other packages lead nowhere.
nitpick_ignore_regex = [(r"py:.*", r"(?!databacked\.).*\..*|[a-z_]+|(.*\.)?(P|R|T|T_co|Json)")]

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


def add_contents(app, docname, source):
    """Have the readme be the root of the site."""
    if docname == root_doc:
        source[0] += CONTENTS


def tell_signature(app, what, name, thing, options, signature, returns):
    """Show no signature of what nobody calls to make it."""
    if signature == "()" and what in ("class", "exception"):
        return "", ""
    if signature is None:
        return None
    said = re.sub(r": [~.\w]*(Unpack\[[^]]*\]|\bP\b(\.k?w?args)?)", "", signature)
    return said.replace("<factory>", "{}"), re.sub(r"\[~?P, [~.\w]*R\]", "", returns or "")


def tell_sections(app, what, name, thing, options, lines):
    """Have sentences of "Returns" stay whole (numpydoc takes each line for a type), errors lead."""
    section = ""
    for at, line in enumerate(lines):
        if at + 1 < len(lines) and lines[at + 1].startswith("---"):
            section = line
        elif section in ("Returns", "Yields") and line and not line.startswith("---"):
            while at + 1 < len(lines) and lines[at + 1]:
                lines[at] += f" {lines.pop(at + 1)}"
        elif section == "Raises" and not line.startswith(" "):
            lines[at] = re.sub(r"\w+", lambda name: linked(name[0]), line)


def linked(name):
    """Return the name of an error as one that leads to it, if it is ours."""
    return f"`{name}`" if hasattr(errors, name) else name


def lead_home(app, env, node, contnode):
    """Lead from a name to the one documented thing of that name, whatever its module."""
    if node.get("refdomain") != "py":
        return None
    known = env.get_domain("py").objects
    target = node["reftarget"]
    public = f"databacked.{target}"
    for wanted in (public, f".{target}", f".{target.rpartition('.')[2]}"):
        found = {(one.docname, one.node_id) for name, one in known.items() if name.endswith(wanted)}
        if len(found) == 1:
            return make_refnode(app.builder, node["refdoc"], *found.pop(), contnode)
    return None


def setup(app):
    """Connect what stands above."""
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-signature", tell_signature)
    app.connect("autodoc-process-docstring", tell_sections, priority=400)  # before numpydoc
    app.connect("missing-reference", lead_home)
