"""The model's world: its images are those of the lab."""

import pytest

from bench.lab.images import NAMED
from bench.scale.pulls import HOMES, IMAGES, Case
from bench.scale.world import World


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_the_bytes_and_layers_that_it_has_in_the_lab(image: str) -> None:
    world = Case(10, HOMES, "at once", image).world()
    assert (world.image, len(world.layers)) == (NAMED[image].size_bytes, NAMED[image].layers)


def test_the_usual_image_is_one_of_them() -> None:
    assert World(nodes=2).image == NAMED["100MB-4"].size_bytes
