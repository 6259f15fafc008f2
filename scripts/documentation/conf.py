"""Sphinx's settings: pages in Markdown, the reference from docstrings and from Typer's commands.

A name such as ``ooc.Trainer`` in code font becomes a link to the reference, in pages and in
docstrings alike, where it has an entry there; one that names nothing is a warning, and warnings
are errors.
"""

import html
import re
from dataclasses import fields, is_dataclass
from pkgutil import resolve_name
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.autodoc.mock import mock
from typer.cli import get_docs_for_click

from ooc.cli import parser_of
from ooc.cli.help import with_names
from ooc.version import VERSION

project = "ooc"
author = project_copyright = "The ooc developers"
version = release = VERSION
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
nitpicky = True
# What is not of this package has no pages here, and neither has a variable of types.
nitpick_ignore_regex = [("py:.*", r"(?!ooc\b).*"), ("py:.*", r"ooc\.kernels\.activations\.Real")]
default_role = "code"
highlight_language = "none"
smartquotes = False

myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
# PyTorch is large, and need not be there.
autodoc_mock_imports = ["torch"]
autosummary_generate = False
maximum_signature_line_length = 88
napoleon_google_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"ooc {VERSION}"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sphinx = False

# A name of this package, with or without what it is called with.
_NAME = re.compile(r"(ooc(?:\.\w+)+)(?:\(.*\))?")


def add_commands(app: Sphinx, page: str, source: list[str]) -> None:
    """Write every command and option at the end of their page, with the names that tables hold."""
    if page == "command_line":
        command: Any = parser_of()
        for each in (command, *command.commands.values()):
            for told in (each, *each.params):
                if getattr(told, "help", None):
                    told.help = with_names(told.help)
        context = command.context_class(command, info_name="ooc")
        written = get_docs_for_click(obj=command, ctx=context, name="ooc")
        # The page has a title, and the list of commands is beside it.
        written = re.sub(r"\A# .*\n|\n\*\*Commands\*\*:\n(\n\*.*)+\n", "", written)
        source[0] += re.sub(r"^Example: (.*)$", _as_code, written, flags=re.M)


def _as_code(example: re.Match[str]) -> str:
    return f"```console\n$ {html.unescape(example[1])}\n```"


def tell_defaults(app: Sphinx, *told: Any) -> tuple[str | None, str | None]:
    """Return a signature in which a default that is no expression is three dots."""
    signature, returned = told[-2:]
    return signature and re.sub(r"<[^<>]*>", "...", signature), returned


def tell_options(
    app: Sphinx, what: str, name: str, told: object, options: object, lines: list[str]
) -> None:
    """Add what the fields of a dataclass are for, where their metadata say it for the shell."""
    if what == "class" and is_dataclass(told):
        helps = {
            each.name: each.metadata["help"] for each in fields(told) if "help" in each.metadata
        }
        lines += [f"- ``{field}``: {with_names(text)}" for field, text in helps.items()] + [""]


def skip_numbers(
    app: Sphinx, what: str, name: str, told: object, skip: bool, options: object
) -> bool | None:
    """Leave out fields of tuples of which nothing is said but their number."""
    return True if str(told.__doc__).startswith("Alias for field number") else None


def mark_names(app: Sphinx, tree: nodes.document) -> None:
    """Find names in code font that may become links."""
    for text in list(tree.findall(nodes.Text)):
        # Sphinx's dash between a parameter and what it is.
        if " -- " in text and not isinstance(text.parent, nodes.literal | nodes.literal_block):
            text.parent.replace(text, nodes.Text(text.replace(" -- ", " \N{EN DASH} ")))
    for literal in list(tree.findall(nodes.literal)):
        found = _NAME.fullmatch(literal.astext())
        if found is not None and not isinstance(literal.parent, nodes.reference | pending_xref):
            own = {"refdomain": "py", "reftype": "obj", "reftarget": found[1]}
            link = pending_xref("", refdoc=app.env.docname, in_code=True, **own)
            literal.replace_self(link)
            link += literal


def find_home(
    app: Sphinx, env: BuildEnvironment, link: pending_xref, text: nodes.Element
) -> nodes.Element | None:
    """Link a public name to where the reference has what it stands for."""
    if not link.get("in_code"):
        return None
    try:
        with mock(app.config.autodoc_mock_imports):
            named = resolve_name(link["reftarget"])
    except (AttributeError, ImportError):
        return None
    module = getattr(named, "__module__", None)
    home = f"{module}.{named.__qualname__}" if module else getattr(named, "__name__", "")
    domain, place = env.domains.python_domain, (env, link["refdoc"], app.builder)
    return domain.resolve_xref(*place, "obj", home, link, text) or text


def setup(app: Sphinx) -> None:
    """Add what pages are made of beside their text."""
    app.connect("source-read", add_commands)
    app.connect("autodoc-process-docstring", tell_options)
    app.connect("autodoc-skip-member", skip_numbers)
    app.connect("autodoc-process-signature", tell_defaults)
    app.connect("doctree-read", mark_names)
    app.connect("missing-reference", find_home)
