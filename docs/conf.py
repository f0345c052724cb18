"""Sphinx's settings for the site; `make site` copies this file to where it puts the pages together.

Nothing is executed and nothing is fetched, neither while building nor while reading.
"""

import html
import re
from pathlib import Path

from docutils import nodes
from stamp import BRANCH, repository

from course_utils import __version__
from course_utils.command.notebooks.folds import DEEPER

project = "Pixels to Predictions"
PROMISE = "Executable lessons on image classification with PyTorch, from one pixel to a trained network."
author = "the authors of Pixels to Predictions"
copyright = "the authors; text and code under the MIT licence"
version = release = __version__
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
copybutton_selector = ".highlight:not(.highlight-none) pre"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
exclude_patterns = ["jupyter_execute"]
# Lessons put "### Contents" below their title, a level lower than the sections, so that it is not a section itself.
suppress_warnings = ["myst.header"]

nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
nb_ipywidgets_js = {}  # the widgets' static twins are shown, so no script is needed
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
myst_heading_anchors = 3
myst_heading_slug_func = "lint_notebooks.anchor"  # links inside a lesson are as Jupyter has them

default_role = "code"  # docstrings mark code with single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_js_files = ["course.js"]
html_logo = html_favicon = "_static/logo.svg"
html_search_scorer = str(Path(__file__).with_name("scorer.js"))
html_copy_source = True
html_sourcelink_suffix = ""
html_show_sphinx = False
html_theme_options = {
    "repository_url": f"https://github.com/{repository()}",
    "repository_branch": BRANCH,
    "path_to_docs": "",
    "use_repository_button": True,
    "use_download_button": True,
    "use_fullscreen_button": False,
    "launch_buttons": {
        "colab_url": "https://colab.research.google.com",
        "binderhub_url": "https://mybinder.org",
        "notebook_interface": "jupyterlab",
    },
    "logo": {"text": project, "alt_text": "Home"},
    "navbar_persistent": [],  # one field for the search, in the sidebar
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

FIELD = re.compile(r"(?P<names>[a-z_]\w*(?:, [a-z_]\w*)*): (?P<text>\S.*)")


def fields_as_list(app, what, name, obj, options, lines) -> None:
    """Make a list of a dataclass's fields, which its docstring has as lines of "name: what it is"."""
    result, inside = [], False
    for line in lines:
        field = FIELD.fullmatch(line) if inside or not result or not result[-1] else None
        if field:
            result += [f"- `{field['names']}`: {field['text']}"]
            inside = True
        elif inside and line.startswith("  "):
            result.append(f"  {line.strip()}")
        else:
            result += ["", line] if inside and line else [line]
            inside = False
    lines[:] = result


def fold_deeper(app, doctree, name) -> None:
    """Put each section called "Go deeper: …" into a fold with its heading as the summary."""
    for section in list(doctree.findall(nodes.section)):
        title, *rest = section.children
        if isinstance(title, nodes.title) and title.astext().startswith(DEEPER):
            begin, under, end = (
                nodes.raw("", text, format="html")
                for text in ('<details class="deeper"><summary>', "</summary>", "</details>")
            )
            section.children = []
            section.extend([begin, title, under, *rest, end])


def describe(app, page, template, context, doctree) -> None:
    """Say for links to a page elsewhere what it is about, with the course's picture."""
    owner, _, name = repository().partition("/")
    text = doctree.astext() if doctree else ""
    question = re.search(r"The question: (.+?\?)", text, re.DOTALL)
    about = " ".join(question[1].split()) if question else PROMISE
    told = {
        "og:title": context.get("title", project),
        "og:description": about,
        "og:type": "website",
        "og:image": f"https://{owner.lower()}.github.io/{name}/_static/card.png",
    }
    tags = [f'<meta name="description" content="{html.escape(about)}">', *(
        f'<meta property="{key}" content="{html.escape(re.sub("<.*?>", "", value))}">' for key, value in told.items()
    ), '<meta name="twitter:card" content="summary_large_image">']  # fmt: skip
    context["metatags"] = context.get("metatags", "") + "\n".join(tags)


def setup(app) -> None:
    """Let the docstrings pass through `fields_as_list` before napoleon sees them, and sections be folded at the end."""
    app.connect("html-page-context", describe)
    app.connect("autodoc-process-docstring", fields_as_list, priority=400)
    app.connect("doctree-resolved", fold_deeper)


html_domain_indices = False  # the list of modules would repeat the reference, with pictures without words
