"""containerd's config.toml, and what it imports: where registries have their folders, which is `config_path`.

Sources: containerd, docs/cri/registry.md, docs/cri/config.md, cmd/containerd/server/config/config.go, and
internal/cri/config/config.go. A file of version 1 calls the plugin `cri`, one of version 2 by its full name, and from
version 3 on images have a plugin of their own; each containerd reads the older ones. An imported file wins over the
one that names it, before containerd 2.1 for the whole plugin. `config_path` beside `registry.mirrors` ends containerd's
start, so it is never written there.
"""

import fnmatch
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .. import Addition, NotUnderstood, Texts, toml_text
from ..edits import newline_of
from ..host import Host

_FILES_MAX: Final = 64
"""Bounds the files that are imported; most hosts have none, and Amazon's one."""
_PLUGINS: Final[Mapping[int, str]] = {1: "cri", 2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.images"}
"""The plugin that pulls images, by the version of the file; later ones as 3."""
_NEWEST: Final = 3
_CRI: Final = frozenset({*_PLUGINS.values()})
"""By which of its names the plugin is disabled."""
_KEY: Final = "config_path"
_DISCARDS: Final = "discard_unpacked_layers"
_INNER: Final = "containerd"
"""The table of the plugin in which files of version 1 and 2 have some of its keys."""
_USUAL: Final[Mapping[str, Any]] = {
    "use_local_image_pull": False,
    "disable_snapshot_annotations": True,
    _DISCARDS: False,
    "max_concurrent_downloads": 3,
    "image_pull_with_sync_fs": False,
}
"""Keys by which the plugin pulls by itself if they have another value, and `registry` with passwords or mirrors.
Source: containerd 2.4, internal/cri/config/config.go, CheckLocalImagePullConfigs."""


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What containerd's configuration says of images.

    Args:
        path: of the file whose word counts: the last that has something to say of the plugin, or the main one.
        roots: folders that have a folder for each registry, in the order in which they are looked into.
        has_path: whether a file names them.
        is_disabled: whether the plugin that pulls for Kubernetes does not run.
        pulls_itself: whether that plugin pulls by itself, rather than by containerd's transfer service.
        mirrors: the file that has `registry.mirrors` last, and the way to them; None if none has.
        discards: the file and line where containerd is told to throw layers away once they are unpacked.
    """

    path: str
    roots: tuple[str, ...] = ()
    has_path: bool = False
    is_disabled: bool = False
    pulls_itself: bool = False
    mirrors: tuple[str, toml_text.Keys] | None = None
    discards: str | None = None


def read(host: Host, path: str) -> Texts:
    """The texts of a configuration and of all that it imports, in the order in which containerd reads them.

    Raises:
        ConfigError: one cannot be read, or is not in order.
    """
    texts: dict[str, str] = {}
    waiting = [path]
    while waiting and len(texts) < _FILES_MAX:
        current = waiting.pop(0)
        text = None if current in texts else host.read(current)
        if text is not None:
            texts[current] = text
            waiting += _imports(host, current, toml_text.loads(current, text))
    return texts


def understand(texts: Texts, main: str, usual: str, *, merges: bool) -> ImageConfig:
    """What the files say together.

    Args:
        texts: the configuration and what it imports, in order.
        main: the path of the configuration, which may not be there.
        usual: where containerd looks if no file says anything.
        merges: whether a plugin has what all files say of it, rather than what the last of them says.

    Raises:
        NotUnderstood: a file is not in order.
    """
    speaks, roots, has_path, pulls_itself, disabled = main, "", False, False, set[str]()
    mirrors = discards = None
    for path, text in texts.items():
        document = toml_text.loads(path, text)
        disabled |= {plugin for plugin in document.get("disabled_plugins", ()) if isinstance(plugin, str)}
        keys = _plugin_keys(document)
        plugin = toml_text.value_at(document, keys)
        if not isinstance(plugin, dict):
            continue
        speaks = path
        own = _text(toml_text.value_at(plugin, ("registry", _KEY)))
        roots = own or roots
        has_path = bool(own) or (has_path and merges)
        if toml_text.value_at(plugin, ("registry", "mirrors")):
            mirrors = path, (*keys, "registry", "mirrors")
        pulls_itself = pulls_itself or _pulls_itself(plugin)
        for way in (keys, (*keys, _INNER)):
            if toml_text.value_at(document, (*way, _DISCARDS)) is True:
                discards = _place(path, text, way, _DISCARDS)
    named = tuple(root for root in roots.split(":") if root)
    return ImageConfig(speaks, named or (usual,), has_path, bool(disabled & _CRI), pulls_itself, mirrors, discards)


def add(path: str, text: str | None, roots: tuple[str, ...], version: int) -> Addition:
    """Say where registries have their folders, in a file that does not.

    Args:
        path: of the file.
        text: of it; None if it is not there.
        roots: the folders.
        version: of a file that is not there.

    Raises:
        NotUnderstood: it is not in order, or has the plugin's settings in a form to which nothing can be added.
    """
    before = f"version = {version}\n" if text is None else text
    keys = (*_plugin_keys(toml_text.loads(path, before)), "registry")
    root = ":".join(roots)
    end = newline_of(before)
    line = f"{_KEY} = {toml_text.quoted(root)}{end}"
    table = toml_text.table_at(before, keys)
    old = None
    if table is None:
        gap = "" if not before else end if before.endswith("\n") else end + end
        block = f"{gap}[{toml_text.written(keys)}]{end}  {line}"
        after = before + block
    else:
        number = toml_text.key_line(before, table, _KEY)
        lines = toml_text.lines_of(before)
        if number is None:
            line = _indent(before, table) + line
            head = lines[table.start]
            block = line if head.endswith("\n") else end + line
            after = toml_text.with_lines(before, table.start + 1, table.start + 1, block)
        else:
            old = lines[number]
            block = toml_text.indent_of(before, number) + line
            after = toml_text.with_lines(before, number, number + 1, block)
    _check(path, before, after, keys, root)
    return Addition(
        after,
        {
            "keys": list(keys),
            "root": root,
            "block": block,
            "old": old,
            "made": text is None,
            "made_table": table is None,
        },
    )


def remove(path: str, text: str, added: Any) -> str | None:
    """The text without what `add` wrote; None if nothing is left of a file that was made for it."""
    keys = tuple(added["keys"])
    after = text
    if toml_text.value_at(toml_text.loads(path, text), (*keys, _KEY)) == added["root"]:
        after = _without(text, keys, added)
    left = toml_text.loads(path, after)
    return None if added["made"] and not left.keys() - {"version"} else after


def _without(text: str, keys: toml_text.Keys, added: Any) -> str:
    """A text without the key that stands in it; and without its table, if that was made for it and has nothing else."""
    table = toml_text.table_at(text, keys)
    number = None if table is None else toml_text.key_line(text, table, _KEY)
    if table is None or number is None:
        return text
    after = toml_text.with_lines(text, number, number + 1, added["old"] or "")
    has_others = bool(toml_text.value_at(toml_text.loads("", after), keys))
    if added["old"] or (added["made_table"] and has_others):
        return after
    shorter = toml_text.without(text, added["block"])
    if shorter is None and added["made_table"]:
        shorter = toml_text.with_lines(after, table.start, table.start + 1, "")
    return after if shorter is None else shorter


def _imports(host: Host, path: str, document: dict[str, Any]) -> Iterator[str]:
    """The files that one imports; a star stands for any characters in a file's name."""
    imports = document.get("imports", [])
    for name in imports if isinstance(imports, list) else []:
        full = posixpath.normpath(posixpath.join(posixpath.dirname(path), str(name)))
        folder, pattern = posixpath.split(full)
        if "*" in pattern:
            yield from (posixpath.join(folder, each) for each in host.names(folder) if fnmatch.fnmatch(each, pattern))
        else:
            yield full


def _plugin_keys(document: dict[str, Any]) -> toml_text.Keys:
    """The way to the settings of the plugin that pulls images, in a file of this version."""
    version = document.get("version", 1)
    number = version if isinstance(version, int) and version > 0 else 1
    return ("plugins", _PLUGINS[min(number, _NEWEST)])


def _pulls_itself(plugin: dict[str, Any]) -> bool:
    """Whether the plugin pulls by itself, by what it is told."""
    told = {**(plugin[_INNER] if isinstance(plugin.get(_INNER), dict) else {}), **plugin}
    is_old = any(toml_text.value_at(plugin, ("registry", key)) for key in ("mirrors", "configs", "auths"))
    return is_old or any(told.get(key, usual) != usual for key, usual in _USUAL.items())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _place(path: str, text: str, keys: toml_text.Keys, key: str) -> str:
    """Where a key stands, for people: file and line."""
    table = toml_text.table_at(text, keys)
    number = None if table is None else toml_text.key_line(text, table, key)
    return path if number is None else f"{path}:{number + 1}"


def _indent(text: str, table: toml_text.Table) -> str:
    """How the keys of a table are indented: as its first one, or two blanks more than its header."""
    lines = toml_text.lines_of(text)
    for number in range(table.start + 1, table.end):
        if lines[number].strip() and not lines[number].lstrip().startswith("#"):
            return toml_text.indent_of(text, number)
    return toml_text.indent_of(text, table.start) + "  "


def _check(path: str, before: str, after: str, keys: toml_text.Keys, root: str) -> None:
    """The text means what it meant, and says where the folders are; raise NotUnderstood if not."""
    unknown = f"its form is not known; add this by hand: [{toml_text.written(keys)}] {_KEY} = {toml_text.quoted(root)}"
    try:
        read = toml_text.loads(path, after)
    except NotUnderstood:
        raise NotUnderstood(path, None, unknown) from None
    expected: Any = toml_text.loads(path, before)
    place = expected
    for key in keys:
        place = place.setdefault(key, {})
    place[_KEY] = root
    if read != expected:
        raise NotUnderstood(path, None, unknown)
