"""containerd's hosts.toml: whom it asks for the images of one registry, in the order in which the tables stand.

Sources: containerd, docs/hosts.md and core/remotes/docker/config/hosts.go. The folder of a registry that is found
first counts, `_default` last; a file that is not in order, or has a capability that this containerd does not know, is
left out as a whole.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from .. import Addition, NotUnderstood, toml_text
from ..edits import newline_of

FILE: Final = "hosts.toml"
DEFAULT: Final = "_default"
"""The folder for registries that have none of their own."""
_TOP: Final = "host"


def add(path: str, text: str | None, url: str, then: Sequence[str] = ()) -> Addition | None:
    """Put the agent before all whom containerd asks; None if it asks the agent already.

    Args:
        path: of the file.
        text: of it; None if it is not there.
        url: of the agent.
        then: of other mirrors, which follow upon it; those that stand there stay where they are.

    Raises:
        NotUnderstood: the file is not in order, or has its hosts in a form in which none can be put before them.
    """
    before = text or ""
    read = toml_text.loads(path, before)
    hosts = read.get(_TOP, {})
    if not isinstance(hosts, dict):
        raise NotUnderstood(path, None, "host is no table; containerd leaves such a file out as a whole")
    if any(_same(name, url) for name in hosts):
        return None
    end = newline_of(before)
    urls = [url, *(each for each in then if not any(_same(name, each) for name in hosts))]
    block = end.join(f'[host.{toml_text.quoted(each)}]{end}  capabilities = ["pull", "resolve"]{end}' for each in urls)
    first = next((table for table in toml_text.tables(before) if len(table.keys) > 1 and table.keys[0] == _TOP), None)
    if first is not None:
        block += end
        line = _above_comments(before, first.start)
        after = toml_text.with_lines(before, line, line, block)
    elif hosts:
        raise NotUnderstood(path, None, f"its hosts stand in one line; write each as a table, [host.{_example(hosts)}]")
    else:
        block = _gap(before, end) + block
        after = before + block
    _check(path, before, after, urls)
    return Addition(after, {"urls": urls, "block": block, "made": text is None}, at_once=True)


def remove(path: str, text: str, added: Any) -> str | None:
    """The text without the agent; None if nothing is left of a file that was made for it."""
    after = toml_text.without(text, added["block"])
    if after is None:  # others have changed our own lines
        after = text
        while table := next((table for table in toml_text.tables(after) if _is_ours(table.keys, added["urls"])), None):
            after = toml_text.with_lines(after, table.start, table.end, "")
    read = toml_text.loads(path, after)
    return None if added["made"] and not read and not after.strip() else after


def _is_ours(keys: toml_text.Keys, urls: Collection[str]) -> bool:
    return len(keys) > 1 and keys[0] == _TOP and keys[1] in urls


def _same(name: str, url: str) -> bool:
    """Whether the name of a host means a URL; containerd takes https where a name has no scheme."""
    one, other = urlsplit(name if "://" in name else f"https://{name}"), urlsplit(url)
    return (one.scheme, one.netloc.lower()) == (other.scheme, other.netloc.lower())


def _above_comments(text: str, line: int) -> int:
    """The line before the comments that belong to a line."""
    lines = toml_text.lines_of(text)
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
    return line


def _gap(text: str, end: str) -> str:
    """What has to stand between the end of a text and a new table."""
    return "" if not text else end if text.endswith("\n") else end + end


def _example(hosts: dict[str, Any]) -> str:
    return toml_text.quoted(next(iter(hosts)))


def _check(path: str, before: str, after: str, urls: Collection[str]) -> None:
    """What was there means what it meant; raise NotUnderstood if it does not."""
    read = toml_text.loads(path, after)
    for url in urls:
        read[_TOP].pop(url)
    expected = toml_text.loads(path, before)
    if read != {_TOP: {}, **expected}:
        raise NotUnderstood(path, None, "its form is not known, so nothing can be added to it safely; add it by hand")
