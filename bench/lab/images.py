"""The images that are pulled: sizes in layers, some of which have names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mirror.tables import parse_size

_MIB: Final = 1024**2
_LAYERS_DEFAULT: Final = 4

LEAST_BYTES: Final = 64 * 1024
"""Of an image at least, bytes: then each of a hundred layers has some, and a pull takes a time that is not 0."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What an image is made of.

    Args:
        size_bytes: of all layers together.
        layers: equally large.
        name: under which it is known, if it has one.
    """

    size_bytes: int
    layers: int
    name: str | None = None


_SIZES: Final = {"10MB": 10 * _MIB, "100MB": 100 * _MIB, "1GB": 1024 * _MIB}
NAMED: Final[Mapping[str, Shape]] = {
    f"{size}-{layers}": Shape(count, layers, f"{size}-{layers}") for size, count in _SIZES.items() for layers in (1, 4)
}
"""The images of Spegel's benchmark, by name. Its sizes are powers of two: 10MB are 10 MiB.

Source: github.com/spegel-org/benchmark, `internal/generate`, which reads sizes with github.com/c2h5oh/datasize.
"""


def shape_of(image: str, layers: int | None) -> Shape:
    """The shape that was asked for.

    Args:
        image: a name, or a size such as `200MiB`.
        layers: how many; None for as many as the name says, or 4.

    Raises:
        ValueError: it is neither, or too small, or the name says another number of layers.
    """
    named = NAMED.get(image)
    if named is None:
        try:
            size = parse_size(image)
        except ValueError:
            raise ValueError(f"{image!r} is neither a size such as 200MiB nor one of {', '.join(NAMED)}") from None
        if size < LEAST_BYTES:
            raise ValueError(f"{image!r} is too small for an image: give {LEAST_BYTES // 1024}KiB or more")
        return Shape(size, _LAYERS_DEFAULT if layers is None else layers)
    if layers not in (None, named.layers):
        raise ValueError(f"{image} has {named.layers} layers, not {layers}: leave --layers out, or give a size")
    return named
