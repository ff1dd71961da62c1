"""`registry.mirrors` of containerd's config.toml: the way before `config_path`, which still goes, but not beside it.

An entry for a registry has its endpoints, which are asked in their order, then the registry itself; `"*"` is for those
without an entry. Source: containerd, internal/cri/server/images/image_pull.go, registryEndpoints.
"""

import copy
import re
from collections.abc import Iterator
from typing import Any, Final

from .. import Addition, NotUnderstood, Wanted, is_local, toml_text
from ..edits import Insertion, cut, inserted, item_cuts, item_places, newline_of, occurrences, toml

_EVERY: Final = "*"
_LIST: Final = re.compile(r"""["']?endpoint["']?\s*=\s*\[""")


def add(path: str, text: str, keys: toml_text.Keys, wanted: Wanted) -> Addition | None:
    """Put the agent before all endpoints of each entry, and make entries that are missing; None if it is there.

    Args:
        path: of the file.
        text: of it; it has `mirrors`.
        keys: the way to `mirrors`.
        wanted: whom containerd is to ask, and for what.

    Raises:
        NotUnderstood: the entries have a form to which nothing can be added.
    """
    after, changes = text, []
    known = toml_text.value_at(toml_text.loads(path, text), keys)
    names = [*known, *({_EVERY} - set(known))] if wanted.every else list(wanted.registries)
    for name in names:
        before = toml(after)
        endpoints = toml_text.value_at(before, (*keys, name, "endpoint")) or []
        if wanted.url in endpoints or is_local(name):
            continue
        meant: Any = copy.deepcopy(before)
        entry = toml_text.value_at(meant, keys).setdefault(name, {})
        entry["endpoint"] = [wanted.url, *endpoints]
        insertion = inserted(after, _places(after, (*keys, name), wanted.url), toml, meant)
        if insertion is None:
            way = toml_text.written((*keys, name, "endpoint"))
            raise NotUnderstood(path, None, f"its form is not known; add this by hand: {wanted.url} first in {way}")
        after = insertion.into(after)
        changes.append({"registry": name, "snippet": insertion.snippet, "is_new": name not in known})
    if not changes:
        return None
    return Addition(after, {"mirrors": list(keys), "url": wanted.url, "changes": changes})


def remove(path: str, text: str, added: Any) -> str:
    """The text without the agent; raise NotUnderstood if others have brought it into a form that is not known."""
    keys, url = tuple(added["mirrors"]), added["url"]
    for change in reversed(added["changes"]):
        way = (*keys, change["registry"])
        now: Any = toml_text.loads(path, text)
        if url not in (toml_text.value_at(now, (*way, "endpoint")) or []):
            continue
        meant = _without(now, way, url, is_new=change["is_new"])
        cuts = [*occurrences(text, change["snippet"]), *_tables(text, way), *item_cuts(text, toml_text.quoted(url))]
        shorter = next((left for each in meant if (left := cut(text, cuts, toml, each)) is not None), None)
        if shorter is None:
            raise NotUnderstood(path, None, f"{url} cannot be taken out of {toml_text.written(way)}; do it by hand")
        text = shorter
    return text


def _without(now: Any, way: toml_text.Keys, url: str, *, is_new: bool) -> list[Any]:
    """What a text may mean without the agent: the less, the better, as far as nobody else wrote it."""
    without_item = copy.deepcopy(now)
    toml_text.value_at(without_item, (*way, "endpoint")).remove(url)
    entry = toml_text.value_at(without_item, way)
    if entry["endpoint"]:
        return [without_item]
    without_endpoint = copy.deepcopy(without_item)
    del toml_text.value_at(without_endpoint, way)["endpoint"]
    without_entry = copy.deepcopy(without_item)
    del toml_text.value_at(without_entry, way[:-1])[way[-1]]
    return [*([without_entry] if is_new and entry.keys() == {"endpoint"} else []), without_endpoint, without_item]


def _places(text: str, way: toml_text.Keys, url: str) -> Iterator[Insertion]:
    """Where the agent may be put: into a list that is there, behind the header of an entry, at the end as an entry."""
    item, end = toml_text.quoted(url), newline_of(text)
    yield from item_places(text, _LIST, item)
    line = f"endpoint = [{item}]{end}"
    if table := toml_text.table_at(text, way):
        lines = toml_text.lines_of(text)
        at = sum(map(len, lines[: table.start + 1]))
        gap = "" if lines[table.start].endswith("\n") else end
        yield Insertion(at, f"{gap}{toml_text.indent_of(text, table.start)}  {line}")
    gap = end if text.endswith("\n") else end + end
    yield Insertion(len(text), f"{gap}[{toml_text.written(way)}]{end}  {line}")


def _tables(text: str, way: toml_text.Keys) -> Iterator[tuple[int, int]]:
    """The table of an entry, with its header and the blank line before that."""
    if table := toml_text.table_at(text, way):
        lines = toml_text.lines_of(text)
        start, end = (sum(map(len, lines[:number])) for number in (table.start, table.end))
        if table.start and not lines[table.start - 1].strip():
            yield start - len(lines[table.start - 1]), end
        yield start, end
