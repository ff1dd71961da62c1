"""Which layers belong together is remembered for the images that were named last, and for layers alone."""

from mirror.fetch.ahead import ImageLayers
from mirror.oci.descriptors import Named, Place
from mirror.oci.digest import Digest


def named(*names: str, place: Place = "layer") -> list[Named]:
    return [Named(Digest.of(name.encode()), 1, place) for name in names]


def hexes(*names: str) -> tuple[str, ...]:
    return tuple(Digest.of(name.encode()).hex for name in names)


def test_a_layer_belongs_to_the_image_that_named_it_last() -> None:
    layers = ImageLayers(8)
    layers.note([*named("config", place="config"), *named("base", "one")])
    layers.note([*named("config", place="config"), *named("base", "two", "two")])
    assert layers.beside(Digest.of(b"one")) == hexes("base", "one")
    assert layers.beside(Digest.of(b"base")) == hexes("base", "two", "two")
    assert layers.beside(Digest.of(b"config")) == layers.beside(Digest.of(b"unknown")) == ()


def test_what_an_index_names_are_no_layers() -> None:
    layers = ImageLayers(8)
    layers.note(named("amd64", "arm64", place="manifest"))
    assert layers.beside(Digest.of(b"amd64")) == ()


def test_an_artifact_of_very_many_files_is_no_image() -> None:
    layers = ImageLayers(1000)
    layers.note(named(*map(str, range(257))))
    assert len(layers) == 0
    layers.note(named(*map(str, range(256))))
    assert len(layers) == 256


def test_what_was_noted_first_is_forgotten_first() -> None:
    layers = ImageLayers(3)
    for image in (("a", "b"), ("c",), ("a",), ("d",)):
        layers.note(named(*image))
    assert len(layers) == 3
    assert [layers.beside(Digest.of(name)) for name in (b"a", b"b", b"c", b"d")] == [
        hexes("a"),
        (),
        hexes("c"),
        hexes("d"),
    ]
