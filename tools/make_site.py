"""Make the site from the committed notebooks, the README and the package's docstrings: `make site`.

python tools/make_site.py [--out build/site]

Sources are put together beside the result, and Sphinx builds them with warnings as errors. Nothing is executed and
nothing is fetched. Lessons, sections and modules are found, not listed.
"""

from __future__ import annotations

import argparse
import ast
import base64
import hashlib
import html
import importlib
import inspect
import json
import pkgutil
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import site_face  # noqa: E402
import stamp  # noqa: E402
from sphinx.cmd.build import build_main  # noqa: E402

import course_utils  # noqa: E402
from course_utils.base import lessons  # noqa: E402
from course_utils.command.builder import to_notebook  # noqa: E402
from course_utils.command.notebooks.pages import with_formulas  # noqa: E402
from course_utils.command.notebooks.study import study  # noqa: E402

PICTURES = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg"}
SECTIONS = {  # pages made of the README's sections
    "start": ("Start", ["Start", "Elsewhere", "For learners"]),
    "instructors": ("For instructors", ["For instructors", "Data", "Tests and CI", "Licences"]),
}
FIRST_TITLE = re.compile(r"\A# (?=\S)")
CODE_PLACES = "## Where the code lives"  # the section of a lesson whose names become links
QUESTION = re.compile(r"\*\*The question: (.+?)\*\*", re.DOTALL)
HIDDEN = ("base", "command")  # what all stands on, and what the command is made of: on a page for maintainers


def main() -> int:
    """Build the site, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site")
    out = parser.parse_args().out.resolve()
    source = out.with_name(f"{out.name}-source")
    for folder in (source, out):
        shutil.rmtree(folder, ignore_errors=True)
    put_together(source)
    options = ["-b", "html", "-W", "--keep-going", "-q", "-d", f"{out}-doctrees"]
    code = build_main([*options, str(source), str(out)])  # in this process, where conf.py finds `stamp`
    if code == 0:
        fix_theme(out / "_static" / "styles")
        for unread in out.rglob("*.map"):  # for the theme's makers, a tenth of the whole site
            unread.unlink()
        shutil.rmtree(out / "_static" / "locales", ignore_errors=True)  # the theme in other languages
        for path in lessons.notebooks(ROOT).values():  # what the download button gives: the lesson as it is committed
            shutil.copy(path, out / "_sources" / "notebooks" / path.name)
        print(f"The site: {out / 'index.html'}")
    return code


def fix_theme(styles: Path) -> None:
    """Put Sphinx's own style sheet into the theme's, which looks for it in the wrong folder (sphinx-book-theme 1.4)."""
    basic = (styles.parent / "basic.css").read_text(encoding="utf-8").replace("url(", "url(../")
    for path in styles.glob("*.css"):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"""@import\s*(?:url\()?["'](?:\.\./)+basic\.css["']\)?;?""", lambda _: basic, text)
        path.write_text(text, encoding="utf-8")


def put_together(source: Path) -> None:
    """Write all that Sphinx needs into the folder `source`."""
    shutil.copytree(ROOT / "docs", source, ignore=shutil.ignore_patterns("__pycache__"))
    pictures = source / "_static" / "pictures"
    for folder in (pictures, source / "notebooks", source / "api"):
        folder.mkdir(parents=True)
    static = source / "_static"
    (static / "explore-data.js").write_text(site_face.exploration_data(), encoding="utf-8")
    (static / "logo.svg").write_text(site_face.logo(), encoding="utf-8")
    site_face.card(static / "card.png")
    pages = dict(reference())
    for name, text in pages.items():
        (source / "api" / f"{name}.md").write_text(text, encoding="utf-8")
    notebooks = lessons.notebooks(ROOT)
    cards = []
    for number, path in notebooks.items():
        content = json.loads(path.read_text(encoding="utf-8"))
        cards.append(card(number, path.stem, content))
        prepared(content, pictures, number, pages)
        (source / "notebooks" / path.name).write_text(json.dumps(content), encoding="utf-8")
    index = (source / "index.md").read_text(encoding="utf-8")
    index = index.replace("<!-- lessons -->", f'<ol class="lessons">\n{"".join(cards)}</ol>')
    first = next(iter(notebooks.values())).stem
    index = index.replace("<!-- first lesson -->", f"notebooks/{first}.html")
    files = "\n".join(f"notebooks/{path.stem}" for path in notebooks.values())
    (source / "index.md").write_text(index.replace("<!-- lesson files -->", files), encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, (title, wanted) in SECTIONS.items():
        parts = [f"## {part}" for part in re.split(r"^## ", readme, flags=re.MULTILINE)]
        chosen = [part for part in parts if part.partition("\n")[0].removeprefix("## ") in wanted]
        text = "\n".join(chosen).replace(f"## {title}\n", "", 1)
        (source / f"{name}.md").write_text(f"# {title}\n\n{with_links(text)}", encoding="utf-8")
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (source / "contributing.md").write_text(with_links(guide), encoding="utf-8")
    (source / "behind.md").write_text(behind(), encoding="utf-8")


def card(number: str, stem: str, content: dict[str, Any]) -> str:
    """Return the home page's entry of a lesson: number, title, question, how long it takes."""
    text = "".join(content["cells"][0]["source"])
    title = html.escape(text.partition("\n")[0].lstrip("# "))
    question = QUESTION.search(text)
    minutes = study(to_notebook(lessons.sources(ROOT)[number]), content).minutes
    words = f"<p>{html.escape(sentence(question[1]))}</p>" if question else ""
    return (
        f'<li><span class="number">{int(number) if number.isdigit() else number}</span><div>'
        f'<a href="notebooks/{stem}.html">{title}</a>{words}'
        f'<p class="facts">About {minutes} minutes</p></div></li>\n'
    )


def sentence(text: str) -> str:
    """Return a question of a lesson's opening as a sentence of its own, without Markdown's marks."""
    plain = re.sub(r"[*`]", "", " ".join(text.split()))
    return plain[:1].upper() + plain[1:]


def label(number: str) -> str:
    """Return what stands before a lesson's title."""
    return f"{int(number)}. " if number.isdigit() else f"Appendix {number}. "


def prepared(content: dict[str, Any], folder: Path, number: str, pages: dict[str, str]) -> None:
    """Change a notebook for the site.

    A number in its title; pictures into `folder`, with their words; formulas as MathML; names in "Where the code lives"
    as links to `pages` about the package; places for explorations that need no kernel.
    """
    opening = content["cells"][0]
    opening["source"] = FIRST_TITLE.sub(f"# {label(number)}", "".join(opening["source"]))
    for cell in content["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            source = with_formulas(source)
            cell["source"] = with_places(source, pages) if CODE_PLACES in source else source
            continue
        live = next((name for call, name in site_face.EXPLORATIONS.items() if f"\n{call}" in f"\n{source}"), None)
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            for kind in [kind for kind in data if kind.startswith("application/")]:
                del data[kind]
            kind = next((kind for kind in PICTURES if kind in data), None)
            if kind is None:
                continue
            raw = "".join(data[kind])
            picture = raw.encode() if kind == "image/svg+xml" else base64.b64decode(raw)
            name = f"{hashlib.sha256(picture).hexdigest()[:16]}.{PICTURES[kind]}"
            (folder / name).write_bytes(picture)
            about = output.get("metadata", {}).get(kind, {})
            alt = html.escape(about.get("alt") or "".join(data.get("text/plain", "")))
            size = "".join(f' {side}="{about[side]}"' for side in ("width", "height") if side in about)
            if "text/html" not in data:
                shown = f'<img class="figure" alt="{alt}"{size} src="../_static/pictures/{name}">'
                data["text/html"] = f'<div data-explore="{live}">{shown}</div>' if live else shown
            del data[kind]


def with_places(text: str, pages: dict[str, str]) -> str:
    """Return the text of "Where the code lives" with links from names to the pages about the package."""
    known = {name for page in pages.values() for name in re.findall(r"auto(?:class|function):: ([\w.]+)", page)}
    begin, heading, places = text.partition(CODE_PLACES)
    places, rule, after = places.partition("\n## ")
    package = ""

    def linked(code: re.Match[str]) -> str:
        nonlocal package
        name = code[1].removesuffix("()")
        full = name if name.partition(".")[0] in pages else f"{package}.{name}"
        page, _, inside = full.partition(".")
        package = full.rpartition(".")[0] or package
        if page not in pages:
            return code[0]
        anchor = f"#course_utils.{full}" if f"course_utils.{full}" in known else ""
        if inside and not anchor and f"## `{full}`" in pages[page]:
            anchor = f"#{full.replace('.', '-').replace('_', '-')}"
        return f'<a href="../api/{page}.html{anchor}"><code>{code[1]}</code></a>'

    return begin + heading + re.sub(r"`([\w.()]+)`", linked, places) + rule + after


def with_links(text: str) -> str:
    """Return the README's or CONTRIBUTING's text with links that hold on the site; other files are the repository's."""
    repository = f"https://github.com/{stamp.repository(ROOT)}/blob/{stamp.BRANCH}/"

    def moved(link: re.Match[str]) -> str:
        target = link[1]
        if re.match(r"https?:|#", target):
            return link[0]
        if target.startswith("docs/"):
            return f"]({target.removeprefix('docs/')})"
        if target in ("README.md", "CONTRIBUTING.md"):
            return f"]({'start' if target.startswith('R') else 'contributing'}.md)"
        return link[0] if target.startswith("notebooks/") else f"]({repository}{target})"

    return re.sub(r"\]\(([^)\s]+)\)", moved, text)


def reference() -> Iterator[tuple[str, str]]:
    """Give name and text of each page about the package: one for each idea, in the course's order, and the index."""
    found = [module.name for module in pkgutil.iter_modules(course_utils.__path__)]
    order = [*getattr(course_utils, "__all__", ()), *found]
    names = sorted(set(found) - set(HIDDEN), key=order.index)
    for name in names:
        yield name, "\n".join([f"# `{name}`\n", *described(f"course_utils.{name}")])
    lines = ["# The package", "", "One page for each idea, made from its docstrings.", ""]
    for name in names:
        module = importlib.import_module(f"course_utils.{name}")
        lines += [f"**[`{name}`]({name}.md)**: {first_sentence(module)}", ""]
        offered = {each: getattr(module, each) for each in getattr(module, "__all__", ())}
        lines += [
            f'- <a href="{name}.html#course_utils.{name}.{each}"><code>{each}</code></a>: {first_sentence(thing)}'
            for each, thing in offered.items()
            if callable(thing)
        ]
        lines.append("")
    yield "index", "\n".join([*lines, "```{toctree}", ":hidden:", "", *names, "```", ""])


def first_sentence(thing: object) -> str:
    """Return the first sentence of a docstring, in one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def described(name: str) -> Iterator[str]:
    """Give the blocks about a module or a package: what the package offers first, then what else its modules hold."""
    module = importlib.import_module(name)
    if not hasattr(module, "__path__"):
        yield block("module", name, ":members:")
        return
    yield block("module", name, ":no-members:")
    offered = {each: getattr(module, each) for each in getattr(module, "__all__", ())}
    offered = {each: thing for each, thing in offered.items() if not inspect.ismodule(thing)}
    yield from (member(f"{name}.{each}", thing) for each, thing in offered.items())
    for part in pkgutil.iter_modules(module.__path__):
        inside = importlib.import_module(f"{name}.{part.name}")
        rest = {each: thing for each, thing in vars(inside).items() if each[0] != "_" and each not in offered}
        yield f"## `{inside.__name__.partition('.')[2]}`\n"
        # No automodule: `training.fit` is a function and a module, and only one of them can own the name.
        yield "\n".join(["```{eval-rst}", inspect.getdoc(inside) or "", "```", ""])
        for each, thing in rest.items():
            if callable(thing) and getattr(thing, "__module__", "") == inside.__name__:
                yield member(f"{inside.__name__}.{each}", thing)


def member(name: str, thing: object) -> str:
    """Return the directive that documents a public name of a module."""
    if inspect.isclass(thing):
        return block("class", name, ":members:")
    if callable(thing):
        return block("function", name)
    held = f"   {', '.join(map(str, thing))}" if isinstance(thing, (dict, list, tuple)) else f"   {thing}"
    # No autodata: it would repeat what Python says of any dict or tuple.
    return "\n".join(["```{eval-rst}", f".. py:data:: {name.rpartition('.')[2]}", "", held, "```", ""])


def block(kind: str, name: str, *options: str) -> str:
    """Return the directive that documents `name`."""
    return "\n".join(["```{eval-rst}", f".. auto{kind}:: {name}", *(f"   {each}" for each in options), "```", ""])


def behind() -> str:
    """Return the maintainers' page: what each module below `HIDDEN` and each script of `tools/` is for.

    Read from the sources, because some of these import what only the extras `lab` and `test` install.
    """
    lines = ["# Behind the command", "", "For those who maintain the course; no lesson needs any of this.", ""]
    for name, folder in [*((name, ROOT / "course_utils" / name) for name in HIDDEN), ("tools", ROOT / "tools")]:
        lines += [f"## `{name}/`", ""]
        for path in sorted(folder.rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            words = ast.get_docstring(tree)
            if not words:
                continue
            inside = ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix("__init__").rstrip(".")
            lines += [f"### `{inside}`", ""] if inside else []
            lines += [words.split("\n\n")[0], ""]
            for each in tree.body:
                if isinstance(each, (ast.FunctionDef, ast.ClassDef)) and not each.name.startswith("_"):
                    first = (ast.get_docstring(each) or "").partition("\n\n")[0]
                    lines.append(f"- `{each.name}`: {' '.join(first.split())}")
            lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
