"""How Sphinx builds the site: `make docs`."""

import re
from importlib import metadata

project = "diffsim-rpg"
author = "the authors of diffsim-rpg"
copyright = f"2026, {author}"
release = metadata.version("diffsim-rpg")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
default_role = "literal"  # docstrings mark code with single backticks, as the pages do

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3
suppress_warnings = ["ref.python"]  # a Box of diffsim and one of rpg, in signatures by their short names

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_use_ivar = True

html_theme = "furo"
html_title = "diffsim, rpg, tasks"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]

# Docstrings are plain text with `code`, not reStructuredText --------------------------------------------------------------

SECTIONS = {"Args:", "Attributes:", "Raises:", "Returns:", "Yields:"}  # napoleon's
PARAGRAPH = re.compile(r"(Task|Randomisation|Success): ")  # in a task's docstring


def escaped(line: str) -> str:
    """A line whose formulas keep their * and |; what stands in backticks is left alone."""
    parts = re.split(r"(`+[^`]*`+)", line)
    return "".join(part if part.startswith("`") else re.sub(r"([*|])", r"\\\1", part) for part in parts)


def laid_out(lines: list[str]) -> list[str]:
    """Lists under a line that ends in a colon get their bullets, paragraphs that hang ("Success: ...") are straightened."""
    result: list[str] = []
    mode = "text"  # or "section", "list", "hang", "literal"
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if line.strip() and indent == 0:
            hangs = following.startswith("    ")
            if result and result[-1] and (mode in ("hang", "list") or PARAGRAPH.match(line)):
                result.append("")
            if line.endswith("::"):
                mode = "literal"
            elif line in SECTIONS:
                mode = "section"
            elif hangs:
                mode = "list" if line.endswith(":") else "hang"
            else:
                mode = "text"
            result.append(line if mode == "literal" else escaped(line))
            result += [""] if mode == "list" else []
        elif mode == "literal":
            result.append(line)
        elif mode == "list" and line.strip():
            result.append(escaped(f"- {line.strip()}" if indent == 4 else f"  {line.strip()}"))
        elif mode == "hang" and line.strip():
            result.append(escaped(line.strip()))
        else:
            result.append(escaped(line))
    return result


def plain_docstring(_app, _what, _name, _object, _options, lines: list[str]) -> None:
    lines[:] = laid_out(lines)


def short_signature(_app, _what, _name, _object, _options, signature: str | None, returned: str | None):
    """Types by their last names: Scene, not ~diffsim.scene.scene.Scene."""
    shortened = [text and re.sub(r"~?(?:[a-zA-Z_]\w*\.)+([a-zA-Z_]\w*)", r"\1", text) for text in (signature, returned)]
    return tuple(shortened)


def setup(app) -> None:
    app.connect("autodoc-process-signature", short_signature)
    app.connect("autodoc-process-docstring", plain_docstring, priority=400)  # before napoleon
