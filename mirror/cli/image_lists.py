"""Which images a file names: a plain list, Kubernetes manifests, what a Helm chart renders, a compose file.

A plain list has one image a line; blank lines and what follows a `#` do not count. Everything else is YAML (JSON is
YAML as well), of several documents: every text under a key `image` counts, wherever it stands. That covers Pods and all
that make them, custom resources, and compose. An `image` that is a table, as in the values of a Helm chart, has its
parts under `registry`, `repository` and `tag` or `digest`.

What cannot be read is told, and not passed over: an image that nobody looked for may lack when the line is cut.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from ..errors import DigestInvalid, NameInvalid
from ..oci.names import parse_one

LIST_MAX_BYTES: Final = 16 * 1024 * 1024
"""Bounds a file, in bytes: all manifests of a large cluster have a few MB."""
_SHOWN_MAX: Final = 100
"""Characters of what is not understood that are shown."""
_PLACE: Final = re.compile(r"\$\{|\{\{|\$\(")
"""What stands for a value that is put in later."""


@dataclass(frozen=True, slots=True)
class ImageList:
    """What a file names.

    Args:
        images: as they are written, each once, in order.
        unclear: what may name an image and cannot be read, each with why.
    """

    images: tuple[str, ...]
    unclear: tuple[str, ...]


def images_of(text: str) -> ImageList:
    """Read a file; raise ValueError if it is neither a list of images nor YAML."""
    lines = ((number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1))
    plain = [(number, line) for number, line in lines if line]
    other = next((number for number, line in plain if not _is_word(line)), None)
    if plain and other is None:
        return _sorted_out((line.strip("'\""), f"line {number}") for number, line in plain)
    found: list[tuple[Any, str]] = []
    try:
        for number, document in enumerate(yaml.load_all(text, Loader=_Loader), 1):
            found += _walk(document, f"document {number}", set())
    except yaml.YAMLError as error:
        raise ValueError(
            f"it is no list of images, and no YAML: line {other} is no single word; {_why(error)}"
        ) from None
    except RecursionError:
        raise ValueError("its values lie too deep in each other") from None
    return _sorted_out(found)


class _Loader(yaml.SafeLoader):
    """Reads plain values: no tag makes an object, and texts that look like dates or numbers stay what they are."""


_Loader.yaml_implicit_resolvers = {}
_Loader.add_multi_constructor("!", lambda loader, suffix, node: _plain(loader, node))  # of tools, such as !Ref


def _plain(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.ScalarNode)
    return loader.construct_scalar(node)


def _is_word(line: str) -> bool:
    """Whether a line of a plain list can be an image: one word, and no key of YAML."""
    return len(line.split()) == 1 and not line.endswith(":") and line not in ("---", "...") and line[0] not in "{[-"


def _walk(value: Any, where: str, seen: set[int]) -> Iterator[tuple[Any, str]]:
    """What stands under a key `image`, and where. What several aliases name is looked at once."""
    if not isinstance(value, list | dict) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _walk(item, f"{where}[{number}]", seen)
        return
    for key, item in value.items():
        if key == "image" and isinstance(item, dict) and "repository" in item:
            yield _joined(item), f"{where}.image"
        elif key == "image" and not isinstance(item, dict):
            yield item, f"{where}.image"
        else:
            yield from _walk(item, f"{where}.{key}", seen)


def _joined(parts: dict[Any, Any]) -> str:
    """An image whose parts stand apart, as in the values of a Helm chart."""
    registry, repository = (str(parts.get(key) or "") for key in ("registry", "repository"))
    tag, digest = (str(parts.get(key) or "") for key in ("tag", "digest"))
    name = f"{registry}/{repository}" if registry else repository
    return f"{name}@{digest}" if digest else f"{name}:{tag}" if tag else name


def _sorted_out(found: Iterable[tuple[Any, str]]) -> ImageList:
    """Those that are images, and those that are not."""
    images: dict[str, None] = {}
    unclear: dict[str, None] = {}
    for value, where in found:
        if not isinstance(value, str) or not value.strip():
            unclear[f"{where}: {str(value)[:_SHOWN_MAX]!r} is no text that names an image"] = None
            continue
        text = value.strip()
        try:
            if _PLACE.search(text):
                raise NameInvalid("a value is to be put in: render it first")
            parse_one(text)
        except (NameInvalid, DigestInvalid) as error:
            unclear[f"{where}: {text[:_SHOWN_MAX]!r}: {error}"] = None
        else:
            images[text] = None
    return ImageList(tuple(images), tuple(unclear))


def _why(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f" in line {mark.line + 1}" if mark is not None else ""
    return f"{getattr(error, 'problem', None) or 'it cannot be parsed'}{place}"
