"""Pages to read without Jupyter: a run's report and its notebooks, with everything inside and nothing fetched."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from course_utils.base.words import duration
from course_utils.command.notebooks import folds
from course_utils.results import shown

OURS = '<meta name="generator" content="course run">'
CSS = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5b6470;--line:#dde1e6;--paper:#fff;--card:#f6f7f9;--link:#0060a8;
--good:#00664b;--bad:#a83c00;--code:#f8f8f8}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ed;--soft:#a3acb8;--line:#343a43;--paper:#14171b;--card:#1c2026;
--link:#6cb8f2;--good:#4fd0a5;--bad:#ff9d66;--code:#1c2026}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.6 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:60rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1,h2,h3{line-height:1.25}h1{font-size:1.9rem;margin:0 0 .5rem}a{color:var(--link)}
.soft{color:var(--soft)}.passed{color:var(--good)}.failed{color:var(--bad)}
.lesson{border:1px solid var(--line);border-radius:.6rem;background:var(--card);padding:1rem 1.25rem;margin:1rem 0}
.lesson h2{font-size:1.15rem;margin:0 0 .4rem}.lesson p{margin:.3rem 0}
.lesson{display:flex;flex-wrap:wrap;gap:1rem 1.25rem}.lesson>div{flex:1 1 22rem;min-width:0}
.lesson>img{flex:0 1 18rem;width:18rem;max-height:14rem;object-fit:contain;object-position:top;align-self:flex-start;
background:#fff;border-radius:.3rem}
.facts{display:flex;flex-wrap:wrap;gap:.3rem 1.5rem;margin:.3rem 0;padding:0;list-style:none}
table{border-collapse:collapse;margin:.5rem 0;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.2rem .9rem .2rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td.number,td[align=right]{text-align:right}
img{max-width:100%;height:auto}.output_area img{background:#fff;border-radius:.3rem}
pre,code{font:0.875rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.highlight,pre{overflow-x:auto}
.input .highlight,.text_cell_render pre{background:var(--code);border:1px solid var(--line);border-radius:.4rem;
padding:.6rem .8rem}
.highlight pre{margin:0}.output{margin:.5rem 0 1rem}.prompt,.anchor-link{display:none}
.text_cell_render{overflow-wrap:break-word}.text_cell_render td code{overflow-wrap:anywhere}
math{font-size:1.1em}.formula{overflow:auto hidden;padding:.3rem 0}
blockquote{border-left:3px solid var(--line);margin-left:0;padding-left:1rem}
details{border:1px solid var(--line);border-radius:.4rem;padding:.4rem .8rem;margin:.5rem 0}
details.code{border:0;padding:0;margin:.3rem 0}details.code>summary{color:var(--soft);font-size:.875rem}
details.deeper{border-left-width:4px}
details.deeper>summary>*,details.deeper>summary :is(h2,h3,h4){display:inline;margin:0}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
"""
CODE_IN_TEXT = re.compile(r"(```.*?```|~~~.*?~~~|`[^`\n]*`)", re.DOTALL)
NOTEBOOK_LINK = re.compile(r"\[(?P<text>[^\[\]\n]*)\]\((?P<name>[\w-]+)\.ipynb(?P<part>[^()\n]*)\)")
PREFIX = re.compile(r"(?<=<)(/?)ns\d+:|(?<=\w|\") xmlns:ns\d+=\"http://www\.w3\.org/1998/Math/MathML\"")
MATH = re.compile(r"\$\$(?P<block>.+?)\$\$|(?<![\\$\w])\$(?P<inline>[^\s$](?:[^$\n]*[^\s$\\])?)\$(?!\d)", re.DOTALL)


TEMPLATE = """{%- extends 'basic/index.html.j2' -%}
{%- block any_cell -%}
{%- if cell.metadata.fold_ends -%}</details>{%- endif -%}
{%- if cell.metadata.fold_begins -%}<details class="deeper"><summary>{{ super() }}</summary>
{%- else -%}{{ super() }}{%- endif -%}
{%- endblock any_cell -%}
{%- block input_group -%}
{%- if "HIDDEN" in cell.metadata.tags -%}<details class="code"><summary>Code</summary>{{ super() }}</details>
{%- else -%}{{ super() }}{%- endif -%}
{%- endblock input_group -%}
{%- block body_footer -%}
{{ super() }}{%- if nb.metadata.fold_ends -%}</details>{%- endif -%}
{%- endblock body_footer -%}
""".replace("HIDDEN", folds.HIDDEN)


def page(title: str, body: str, css: str = "") -> str:
    """Return a complete page with `body` inside."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n{OURS}\n'
        f"<title>{html.escape(title)}</title>\n<style>{CSS}{css}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def is_ours(path: Path) -> bool:
    """Tell whether there is a page at `path` that `page` has made."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return OURS in file.read(1000)
    except OSError:
        return False


def index_page(
    summary: Mapping[str, Any],
    pictures: Mapping[str, Picture] | None = None,
    recorded: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Return the page of a run's report: each lesson with its outcome, and its figures beside the recorded ones.

    Args:
        summary: what report.json holds.
        pictures: one of each lesson, by its label.
        recorded: the recorded run of each lesson, by its label.
    """
    lessons, machine = summary["lessons"], summary["hardware"]
    good = sum(lesson["status"] == "passed" for lesson in lessons)
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items() if version)
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['gpu'] or 'no GPU'}"
    colour = "passed" if summary["passed"] else "failed"
    when = summary["date"][:16].replace("T", " ") + " UTC"
    head = (
        f"<h1>Pixels to Predictions: a run of the lessons</h1>\n"
        f'<p class="{colour}"><strong>{good} of {len(lessons)} passed</strong> in {duration(summary["seconds"])}</p>\n'
        f'<p class="soft">{html.escape(when)} · {html.escape(where)} · {html.escape(versions)}</p>\n'
    )
    cards = [
        _card(lesson, (pictures or {}).get(lesson["label"]), (recorded or {}).get(lesson["label"]))
        for lesson in lessons
    ]
    return page("A run of the lessons", head + "\n".join(cards))


def _card(lesson: Mapping[str, Any], picture: Picture | None, recorded: Mapping[str, Any] | None) -> str:
    number = (lesson["lesson"] or "").lstrip("0")
    title = html.escape(f"{number}. {lesson['title']}" if number else lesson["title"])
    target = lesson["page"] or lesson["notebook"]
    heading = f'<a href="{html.escape(target)}">{title}</a>' if target else title
    passed = lesson["status"] == "passed"
    facts = [
        f'<li class="{"passed" if passed else "failed"}"><strong>{html.escape(lesson["status"])}</strong></li>',
        f"<li>{duration(lesson['seconds'])}{_beside(recorded, 'seconds', duration)}</li>",
    ]
    if lesson["peak_memory_mb"]:
        memory = _beside(recorded, "peak_memory_mb", _memory)
        facts.append(f"<li>{_memory(lesson['peak_memory_mb'])} at most{memory}</li>")
    if lesson["profile"]:
        facts.append(f"<li>profile {html.escape(lesson['profile'])}</li>")
    if changed := _changed(lesson):
        settings = ", ".join(f"{name} = {value}" for name, value in changed.items())
        facts.append(f"<li>changed: {html.escape(settings)}</li>")
    if lesson["notebook"]:
        facts.append(f'<li><a href="{html.escape(lesson["notebook"])}">notebook</a></li>')
    parts = [f"<h2>{heading}</h2>", f'<ul class="facts">{"".join(facts)}</ul>']
    if lesson["error"]:
        parts.append(f'<p class="failed">{html.escape(lesson["error"])}</p>')
    parts += [f'<p class="soft">Data: {html.escape(str(s.get("description", s)))}</p>' for s in lesson["data"]]
    if lesson["figures"]:
        parts.append(_figures(lesson, recorded))
    shown_picture = (
        f'<img alt="{html.escape(picture.alt)}" src="data:image/jpeg;base64,{picture.jpeg}">' if picture else ""
    )
    return f'<section class="lesson">\n{shown_picture}<div>\n' + "\n".join(parts) + "\n</div>\n</section>"


def _changed(lesson: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that this run was given beside its profile."""
    return {name: value for name, value in (lesson["parameters"] or {}).items() if name != "profile"}


def _figures(lesson: Mapping[str, Any], recorded: Mapping[str, Any] | None) -> str:
    """Return a fold with the figures of a run, beside those of the recorded one where there is any."""
    before = (recorded or {}).get("figures", {})
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name.replace("_", " "))}</th>'
        f'<td class="number">{html.escape(shown(value))}</td>'
        + (f'<td class="number">{html.escape(shown(before[name])) if name in before else ""}</td>' if before else "")
        + "</tr>"
        for name, value in lesson["figures"].items()
    )
    head = words = ""
    if recorded:
        words = f", beside the recorded run (profile {recorded['profile']}, {recorded['date']})"
        words += ", which had other settings" if _changed(lesson) else ""
        head = '<tr><td></td><th scope="col">this run</th><th scope="col">recorded</th></tr>'
    count = len(lesson["figures"])
    summary = f"{count} figure{'' if count == 1 else 's'}{html.escape(words)}"
    return f"<details><summary>{summary}</summary><table>{head}{rows}</table></details>"


def _beside(recorded: Mapping[str, Any] | None, name: str, form: Callable[[float], str]) -> str:
    """Return what the recorded run took, in brackets, or an empty text."""
    return f' <span class="soft">(recorded: {form(recorded[name])})</span>' if recorded and recorded.get(name) else ""


def _memory(megabytes: float) -> str:
    return f"{megabytes:,.0f} MB"


@dataclass(frozen=True)
class Picture:
    """A picture for a report: a small JPEG in base 64, and its description."""

    jpeg: str
    alt: str


def telling_picture(notebook: Mapping[str, Any]) -> Picture | None:
    """Return, small, the picture in a notebook's outputs that has most in it: the one with the most bytes.

    None where there is none, or it cannot be read.
    """
    found = [
        ("".join(data[kind]), output.get("metadata", {}).get(kind, {}).get("alt", ""))
        for cell in notebook["cells"]
        for output in cell.get("outputs", ())
        for data in [output.get("data", {})]
        for kind in ("image/png", "image/jpeg")
        if kind in data
    ]
    if not found:
        return None
    data, alt = max(found, key=lambda picture: len(picture[0]))
    file = io.BytesIO()
    try:
        with Image.open(io.BytesIO(base64.b64decode(data)), formats=("PNG", "JPEG")) as image:
            whole = image.convert("RGBA")
        whole.thumbnail((720, 540))
        ground = Image.new("RGBA", whole.size, "white")
        Image.alpha_composite(ground, whole).convert("RGB").save(file, "JPEG", quality=80)
    except Exception:  # noqa: BLE001 - a broken picture in somebody's notebook must not cost the report
        return None
    return Picture(base64.b64encode(file.getvalue()).decode(), alt)


def lesson_page(notebook: Mapping[str, Any], title: str, pages: Collection[str] = ()) -> str:
    """Return an executed notebook as one page: pictures inside, formulas as MathML, no scripts; folds can be opened.

    Links to notebooks whose names (without .ipynb) are among `pages` lead to their pages; of others the text stays.
    """
    import nbformat
    from jinja2 import DictLoader
    from nbconvert.exporters import HTMLExporter
    from pygments.formatters import HtmlFormatter
    from traitlets.config import Config

    copy = nbformat.from_dict(dict(notebook))
    _mark_folds(copy)
    for cell in copy.cells:
        if cell.cell_type == "markdown":
            cell.source = with_formulas(NOTEBOOK_LINK.sub(lambda m: _page_link(m, pages), cell.source))
        for output in cell.get("outputs", ()):
            for kind in ("image/png", "image/jpeg"):
                if kind in output.get("data", {}) and "text/html" not in output.data:
                    output.data["text/html"] = _image(kind, output)
    # Never scripts or live widgets: the page has to work anywhere, without a network.
    shown_kinds = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]
    config = Config({"NbConvertBase": {"display_data_priority": shown_kinds}})
    exporter = HTMLExporter(
        template_name="basic",
        template_file="lesson.html.j2",
        extra_loaders=[DictLoader({"lesson.html.j2": TEMPLATE})],
        config=config,
    )
    body, _ = exporter.from_notebook_node(copy)
    body = PREFIX.sub(r"\1", body)  # <ns0:math>, as nbconvert writes formulas in headings
    body = body.replace("<pre>", '<pre tabindex="0">')  # long lines scroll sideways, by keyboard too
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    dark = re.sub(r"background: *#[0-9a-fA-F]+;?", "", dark)
    light = re.sub(r"background: *#[0-9a-fA-F]+;?", "", HtmlFormatter(style="default").get_style_defs(".highlight"))
    return page(title, body, f"\n{light}\n@media(prefers-color-scheme:dark){{\n{dark}\n}}\n")


def _mark_folds(notebook: Any) -> None:
    """Note at the cells of a notebook where a "Go deeper" section begins, and before which cell one ends."""
    before = False
    for cell, within in folds.inside(notebook.cells):
        begins = folds.is_deeper(cell)
        cell.metadata.update(fold_begins=begins, fold_ends=before and (begins or not within))
        before = begins or within
    notebook.metadata["fold_ends"] = before


def _page_link(link: re.Match[str], pages: Collection[str]) -> str:
    return f"[{link['text']}]({link['name']}.html{link['part']})" if link["name"] in pages else link["text"]


def _image(kind: str, output: Mapping[str, Any]) -> str:
    """Return a picture among a cell's outputs as HTML; nbconvert would drop the alternative text of a JPEG."""
    about = output.get("metadata", {}).get(kind, {})
    alt = html.escape(about.get("alt") or "".join(output["data"].get("text/plain", "")))
    width = f' width="{about["width"]}"' if "width" in about else ""
    source = "".join(output["data"][kind].split())
    return f'<img alt="{alt}"{width} src="data:{kind};base64,{source}">'


def with_formulas(text: str) -> str:
    """Return Markdown `text` with its formulas as MathML, which browsers show and screen readers read by themselves.

    A formula that the converter does not know stays as it is written.
    """

    def converted(match: re.Match[str]) -> str:
        mathml = _mathml(match["block"] or match["inline"], "block" if match["block"] else "inline")
        if mathml is None:
            return match[0]
        # A formula too wide for a telephone scrolls sideways, by keyboard too.
        return f'\n\n<p class="formula" tabindex="0">{mathml}</p>\n\n' if match["block"] else mathml

    parts = CODE_IN_TEXT.split(text)
    return "".join(part if i % 2 else MATH.sub(converted, part) for i, part in enumerate(parts))


def _mathml(tex: str, display: str) -> str | None:
    """Return a formula as MathML, or None where the converter fails or passes on a command that it does not know."""
    from latex2mathml.converter import convert

    try:
        mathml = convert(" ".join(tex.split()), display=display)
    except Exception:  # noqa: BLE001 - its errors have no class in common, and some are Python's own
        return None
    return None if "\\" in mathml else mathml
