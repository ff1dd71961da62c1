"""registries.yaml: the agent becomes the first endpoint of entries of `mirrors`.

A registry that has an entry under `mirrors`, or credentials or certificates under `configs`, gets a folder of its own
for containerd, so `"*"` does not count for it. Source: K3s, pkg/agent/containerd/config.go.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from .. import Added, Addition, NotUnderstood, Wanted, is_local, yaml_text

_EVERY: Final = "*"


def add(path: str, text: str | None, wanted: Wanted) -> tuple[Addition | None, list[str]]:
    """Put the agent before all endpoints; also says what was left alone and why.

    Args:
        path: of the file.
        text: of it; None if it is not there.
        wanted: whom K3s is to ask, and for what.

    Raises:
        NotUnderstood: the file is not in order, or has a form in which nothing can be added.
    """
    after = text or ""
    read = _read(path, after)
    inserted, notes = [], []
    for registry in reversed(_asked(read, wanted)):  # each is put before those that are there
        mirror = read["mirrors"].get(registry) or {}
        if _asks(mirror, wanted.url):
            continue
        if mirror.get("rewrite"):
            notes.append(
                f"{path}: {registry} has a rewrite, which would also rewrite what the agent is asked: it was left "
                "alone, so pulls from this registry do not ask the agent"
            )
            continue
        at, snippet = _insertion(path, after, registry, wanted.url)
        depth = _depth(after, registry)
        before, after = after, after[:at] + snippet + after[at:]
        _check(path, before, after, registry, wanted.url)
        inserted.append({"registry": registry, "snippet": snippet, "depth": depth})
    added = {"url": wanted.url, "inserted": inserted, "made": text is None}
    return (Addition(after, added) if inserted else None), notes


def remove(path: str, text: str, added: Added) -> str | None:
    """The text without the agent; None if nothing is left of a file that was made for it."""
    for each in reversed(added["inserted"]):
        text = _without(path, text, each, added["url"])
    return None if added["made"] and not text.strip() else text


def _read(path: str, text: str) -> dict[str, Any]:
    """registries.yaml, with mappings where there have to be some; raise NotUnderstood otherwise."""
    read = yaml_text.loads(path, text)
    read = {} if read is None else read
    for name, value in (("the file", read), *((key, read.get(key)) for key in ("mirrors", "configs") if _is_map(read))):
        if value is not None and not _is_map(value):
            raise NotUnderstood(path, None, f"{name} has to be a mapping")
    for registry, mirror in (read.get("mirrors") or {}).items():
        if mirror is not None and not (_is_map(mirror) and isinstance(mirror.get("endpoint") or [], list)):
            raise NotUnderstood(path, None, f"mirrors of {registry} has to be a mapping, and its endpoint a list")
    return {**read, "mirrors": read.get("mirrors") or {}}


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


def _asked(read: dict[str, Any], wanted: Wanted) -> list[str]:
    """The registries whose entry has to name the agent."""
    if not wanted.every:
        return list(wanted.registries)
    own = [str(registry) for registry in read["mirrors"]]
    own += [str(name) for name, config in (read.get("configs") or {}).items() if config and name not in own]
    return [_EVERY, *(registry for registry in own if registry != _EVERY and not is_local(registry))]


def _asks(mirror: dict[str, Any], url: str) -> bool:
    """Whether an entry names the agent. Its embedded registry has the same host, and another port."""
    wanted = urlsplit(url).netloc.lower()
    named = (str(each) for each in mirror.get("endpoint") or ())
    return any(urlsplit(each if "://" in each else f"http://{each}").netloc.lower() == wanted for each in named)


def _insertion(path: str, text: str, registry: str, url: str) -> tuple[int, str]:
    """Where the agent is to be written, and what: before all that is there."""
    top = yaml_text.top(text)
    end = "\r\n" if "\r\n" in text else "\n"
    mirrors = yaml_text.entry_at(top, "mirrors")
    if mirrors is None:
        if top is not None and yaml_text.is_flow(top):
            raise NotUnderstood(path, None, "it stands in braces; write it in lines, or add the agent by hand")
        return _below(text, len(text), end, ["mirrors:", *_lines(registry, url, 2)])
    entry = yaml_text.entry_at(mirrors.value, registry)
    if entry is None:
        return _first(
            text, mirrors, end, _lines(registry, url, 0), f"{_quoted(registry)}: {{endpoint: [{_quoted(url)}]}}"
        )
    endpoint = yaml_text.entry_at(entry.value, "endpoint")
    if endpoint is None:
        return _first(text, entry, end, _lines(None, url, 0), f"endpoint: [{_quoted(url)}]")
    return _first(text, endpoint, end, [f"- {_quoted(url)}"], _quoted(url))


def _first(text: str, entry: yaml_text.Entry, end: str, lines: list[str], inline: str) -> tuple[int, str]:
    """Where something becomes the first in the value of an entry, in the value's own style, and how it is written."""
    value = entry.value
    start = int(value.start_mark.index)
    if yaml_text.is_nothing(value):
        deeper = " " * (entry.column + 2)
        return _below(text, yaml_text.line_end(text, start), end, [deeper + line for line in lines])
    if yaml_text.is_flow(value):
        return start + 1, inline + (", " if value.value else "")
    at = yaml_text.line_start(text, start)
    return at, "".join(" " * int(value.start_mark.column) + line + end for line in lines)


def _below(text: str, at: int, end: str, lines: list[str]) -> tuple[int, str]:
    """Lines at the end of a line or of the text, which may lack its line end."""
    gap = end if at and not text[:at].endswith("\n") else ""
    return at, gap + "".join(line + end for line in lines)


def _lines(registry: str | None, url: str, indent: int) -> list[str]:
    named = [f"{_quoted(registry)}:", "  endpoint:", f"    - {_quoted(url)}"]
    lines = named if registry is not None else ["endpoint:", f"  - {_quoted(url)}"]
    return [" " * indent + line for line in lines]


def _quoted(text: str | None) -> str:
    return json.dumps(text)


def _check(path: str, before: str, after: str, registry: str, url: str) -> None:
    """The agent is the first that is asked, and all else means what it meant; raise NotUnderstood if not."""
    unknown = f"its form is not known; add this by hand: mirrors, {registry}, endpoint, {url}"
    try:
        read = yaml_text.loads(path, after)
        first = read["mirrors"][registry]["endpoint"][0]
    except (NotUnderstood, KeyError, TypeError, IndexError):
        raise NotUnderstood(path, None, unknown) from None
    if first != url or _normal(read, registry, url) != _normal(yaml_text.loads(path, before), registry, url):
        raise NotUnderstood(path, None, unknown)


def _normal(read: Any, registry: str, url: str) -> dict[str, Any]:
    """What a file means without the agent for a registry, and without what is empty for that."""
    read = copy.deepcopy(read) or {}
    mirrors = read.get("mirrors") or {}
    mirror = mirrors.get(registry) or {}
    endpoint = mirror.get("endpoint") or []
    kept = list(endpoint)
    if url in kept:
        kept.remove(url)
    for place, key, value in ((mirror, "endpoint", kept), (mirrors, registry, mirror), (read, "mirrors", mirrors)):
        if value:
            place[key] = value
        else:
            place.pop(key, None)
    return dict(read)


def _without(path: str, text: str, inserted: dict[str, Any], url: str) -> str:
    """The text without the agent for a registry: without what was inserted, or what is left of that."""
    registry = inserted["registry"]
    read = yaml_text.loads(path, text)
    wanted = _normal(read, registry, url)
    count = _count(read, registry, url)
    if not count:
        return text
    for start, end in _cuts(text, inserted, url):
        shorter = text[:start] + text[end:]
        try:
            left = yaml_text.loads(path, shorter)
        except NotUnderstood:
            continue
        if _count(left, registry, url) == count - 1 and _normal(left, registry, url) == wanted:
            return shorter
    raise NotUnderstood(path, None, f"{url} cannot be taken out of mirrors, {registry}; take it out by hand")


def _count(read: Any, registry: str, url: str) -> int:
    """How often an entry names the agent."""
    mirror = ((read or {}).get("mirrors") or {}).get(registry) or {}
    return list(mirror.get("endpoint") or []).count(url)


def _cuts(text: str, inserted: dict[str, Any], url: str) -> Iterator[tuple[int, int]]:
    """What may be cut out, the most first: what was inserted; the keys that were, with all below; the item alone."""
    whole, lines = inserted["snippet"], inserted["snippet"].lstrip("\r\n")
    for snippet in (whole, lines) if text.endswith(whole) else (lines, whole):  # others may have gone on behind it
        end = len(text)
        while (start := text.rfind(snippet, 0, end)) >= 0:
            yield start, start + len(snippet)
            end = start + len(snippet) - 1
    top, keys = yaml_text.top(text), _keys(inserted["registry"])
    for depth in range(inserted["depth"], len(keys)):
        if entry := yaml_text.entry_at(top, *keys[: depth + 1]):
            yield yaml_text.line_start(text, entry.start), yaml_text.line_end(text, yaml_text.end_of(entry.value))
    if endpoint := yaml_text.entry_at(top, *keys):
        for item in endpoint.value.value:
            if item.value == url:
                start, end = int(item.start_mark.index), int(item.end_mark.index)
                yield yaml_text.line_start(text, start), yaml_text.line_end(text, end)
                comma = text[end:].lstrip()
                yield start, len(text) - len(comma[1:].lstrip()) if comma.startswith(",") else end
                yield text.rfind(",", 0, start), end


def _keys(registry: str) -> tuple[str, str, str]:
    """The way to the endpoints of a registry."""
    return "mirrors", registry, "endpoint"


def _depth(text: str, registry: str) -> int:
    """How many keys of that way are there."""
    top, keys = yaml_text.top(text), _keys(registry)
    return sum(yaml_text.entry_at(top, *keys[: depth + 1]) is not None for depth in range(len(keys)))
