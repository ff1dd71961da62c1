"""The page as HTML, and the page of results as Markdown with its plots beside it."""

import re
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from ..report import GIB, BenchError
from ..suite.progress import duration
from .build import Page
from .charts import colour
from .contest import ASKED_NODES, Outcome
from .figures import CLEAR_SHARE, CLEAR_SHARE_ONCE
from .plots import standalone
from .results import Cell, Goal, Sheet, is_page, said, shown
from .sentences import OF_GOALS, OF_TABLES, caveats, counts, guide, reasons, scenarios
from .words import MODES, OF_LIBRARY, WHO, mode_words, named, ordered

_FOLDER: Final = Path(__file__).parent
_COLOURS_CSS: Final = _FOLDER / "colours.css"
_CELL_CHARACTERS_MAX: Final = 300

_NO_DIFFERENCE: Final = "No figure made a clear difference between Bloom filters and an exact directory."

_APART_SHOWN: Final = 12
"""How many figures the page names in which two runs do not agree, those of the lab first; the JSON has all."""


def html(page: Page) -> str:
    """One page, which needs nothing beside it."""
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            colours=Markup(_COLOURS_CSS.read_text()),
            svg={it.name: Markup(it.svg) for it in page.plots},
        )
    )


def write_markdown(page: Page, target: Path) -> None:
    """A page for the documents; its plots go into a folder beside it, which has the name of the page.

    Of that folder it deletes the plots that the page of before shows, and no other file.

    Raises:
        BenchError: the folder holds results, or the page's name has no ending, so that both would have one name.
    """
    folder = target.with_suffix("")
    if folder == target:
        raise BenchError(f"{target} would be the page and the folder of its plots: end its name in .md")
    if any(folder.glob("*.json")):
        raise BenchError(f"{folder} is where the plots of {target} go, and it holds results: choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    for old in _plots_shown(target):
        (folder / old).unlink(missing_ok=True)
    style = _COLOURS_CSS.read_text()
    for plot in page.plots:
        (folder / f"{plot.name}.svg").write_text(standalone(plot, style), "utf-8", "replace")
    text = _environment().get_template("results.md.j2").render(page=page, folder=folder.name)
    target.write_text(text, "utf-8", "replace")


def check_target(target: Path) -> None:
    """Whether the page, and the JSON beside it, can be written without loss.

    Args:
        target: of the page.

    Raises:
        BenchError: the page's name is that of its own JSON, or a file that is no page's stands where its JSON goes.
    """
    beside = target.with_suffix(".json")
    if beside == target:
        raise BenchError(f"{target} would be the page and its JSON: end its name in .html")
    if beside.exists() and not is_page(beside):
        raise BenchError(
            f"{target} would replace {beside}, which is not of a page, with its figures: give the page another name"
        )


def _plots_shown(target: Path) -> list[str]:
    """The plots that a page of documents shows from its folder."""
    text = target.read_text("utf-8", "replace") if target.exists() else ""
    return re.findall(rf"\]\({re.escape(target.stem)}/([^/()]+\.svg)\)", text)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "APART_SHOWN": _APART_SHOWN,
        "ASKED_NODES": ASKED_NODES,
        "CLEAR_PERCENT": round(100 * CLEAR_SHARE),
        "ONCE_PERCENT": round(100 * CLEAR_SHARE_ONCE),
        "MODES": MODES,
        "WHO": WHO,
        "OF_LIBRARY": OF_LIBRARY,
        "OF_GOALS": OF_GOALS,
        "OF_TABLES": OF_TABLES,
        "NO_DIFFERENCE": _NO_DIFFERENCE,
        "Outcome": Outcome,
        "reasons_of": reasons,
        "counts": counts,
        "caveats": caveats,
        "guide": guide,
        "scenarios": scenarios,
        "ordered": ordered,
        "colour_of": colour,
    }
    environment.filters |= {
        "mode": mode_words,
        "mode_the": named,
        "cell": _cell,
        "goal": _goal,
        "duration": duration,
        "markdown": _markdown,
        "fact": _fact,
        "order": lambda modes: ordered(dict.fromkeys(modes)),
    }
    return environment


def _cell(cell: Cell, sheet: Sheet, key: str) -> str:
    """A cell as text, of texts from files their beginning."""
    return said(cell, sheet.spec(key))[:_CELL_CHARACTERS_MAX]


def _goal(goal: Goal) -> str:
    """What was found instead of what a goal allows."""
    found, limit = (shown(value, ".4g") if value is not None else "no number" for value in (goal.found, goal.limit))
    return f"{found} instead of {'at most' if goal.most else 'at least'} {limit}"


def _fact(key: str, value: str | float | None) -> str:
    """Something of the machine, in words."""
    if isinstance(value, str) or value is None:
        return f"{key.replace('_', ' ')} {value or 'unknown'}"
    if key.endswith("_bytes"):
        return f"{key.removesuffix('_bytes')} {value / GIB:.1f} GiB"
    return f"{key} {value:.15g}"


def _markdown(text: Any) -> str:
    """Text that means nothing else in a table of Markdown."""
    for mark in ("\\", "|", "<", "*", "_", "`", "["):
        text = str(text).replace(mark, f"\\{mark}")
    return " ".join(str(text).split())
