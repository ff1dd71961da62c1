"""Texts that others write too, changed by one insertion or one cut at a time, with a parser as the judge.

Nothing here parses a text and writes it anew, so every byte that was there stays: comments, order, line ends. A caller
says what the text should mean, and proposes ways to get there; the first one that the format's parser reads as just
that is taken. A proposal may be wrong (inside a comment, in another table), for the parser finds out.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Parse = Callable[[str], Any]
"""What a text means; raises ValueError if it is not in order."""

MARK: Final = "\ufeff"
"""The mark of the byte order that some editors write at the start of a file. It says nothing."""
_INDENT: Final = re.compile(r"[ \t]*")


@dataclass(frozen=True, slots=True)
class Insertion:
    """Some text at a place of another.

    Args:
        at: characters before it.
        snippet: what is inserted.
    """

    at: int
    snippet: str

    def into(self, text: str) -> str:
        """The text with the snippet in it."""
        return text[: self.at] + self.snippet + text[self.at :]


def inserted(text: str, proposals: Iterable[Insertion], parse: Parse, meant: Any) -> Insertion | None:
    """The first proposal with which a text means what it should; None if there is none."""
    return next((each for each in proposals if _means(each.into(text), parse, meant)), None)


def cut(text: str, proposals: Iterable[tuple[int, int]], parse: Parse, meant: Any) -> str | None:
    """A text without the first of the proposed ranges without which it means what it should; None if there is none.

    Args:
        text: from which something is cut.
        proposals: first character, and the one after the last.
        parse: of the text's format.
        meant: by what is left.
    """
    shorter = (text[:first] + text[last:] for first, last in proposals)
    return next((each for each in shorter if _means(each, parse, meant)), None)


def occurrences(text: str, snippet: str) -> Iterator[tuple[int, int]]:
    """Where a snippet stands, from the end of the text on: what was added last is met first.

    A table that was added to a text without a last line end brought that, too. Where others have gone on behind the
    table, the line before needs it.
    """
    line = newline_of(snippet)
    ends_line = snippet.startswith(f"{line}{line}[")
    end = len(text) + len(snippet)
    while snippet and (found := text.rfind(snippet, 0, end)) >= 0:
        last = found + len(snippet)
        if ends_line and last < len(text):
            yield found + len(line), last
        yield found, last
        end = last - 1


def item_places(text: str, opening: re.Pattern[str], item: str) -> Iterator[Insertion]:
    """Where an item can come first in a list that is there, in the style of the list.

    Args:
        text: of the file.
        opening: what ends with the bracket of a list that may be meant.
        item: as it is written.
    """
    for found in opening.finditer(text):
        after = text[found.end() :]
        if begins := re.match(r"[ \t]*(?:#[^\n]*)?(\r?\n)([ \t]*)(?=[^\s\]])", after):
            yield Insertion(found.end(), f"{begins[1]}{begins[2]}{item},")
        space = " " if after.startswith(" ") else ""
        if not after.lstrip().startswith("]"):
            yield Insertion(found.end(), f"{space}{item}," if space else f"{item}, ")
        yield Insertion(found.end(), f"{space}{item}")


def item_cuts(text: str, item: str) -> Iterator[tuple[int, int]]:
    """Ranges of which one is an item of a list with the comma that belongs to it."""
    quoted = re.escape(item)
    for shape in (rf"(?m)^[ \t]*{quoted}[ \t]*,?[ \t]*\r?\n", rf"{quoted}\s*,[ \t]*", rf"\s*,\s*{quoted}", quoted):
        for found in re.finditer(shape, text):
            yield found.span()


def newline_of(text: str) -> str:
    """How the lines of a text end, as its first one does."""
    return "\r\n" if re.search(r"\r?\n", text + "\n")[0] == "\r\n" else "\n"  # type: ignore[index]


def indent_at(text: str, at: int) -> str:
    """The spaces and tabs that stand at a place."""
    found = _INDENT.match(text, at)
    return found[0] if found else ""


def marked(texts: Mapping[str, str]) -> Iterator[str]:
    """Sentences for the operator about files that begin with the mark of the byte order."""
    for path, text in texts.items():
        if text.startswith(MARK):
            yield f"{path} begins with a byte order mark, over which many versions of its program fail: delete that"


def toml(text: str) -> dict[str, Any]:
    """What a text means as TOML; raises ValueError if it is none."""
    try:
        return tomllib.loads(text.removeprefix(MARK))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _means(text: str, parse: Parse, meant: Any) -> bool:
    """Whether a text is in order, and means just this."""
    try:
        return bool(parse(text) == meant)
    except ValueError:
        return False
