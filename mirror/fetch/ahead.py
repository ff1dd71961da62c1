"""Reading ahead: which layers a client of this node is about to ask for, because it is pulling their image.

A client asks for some layers of an image at a time, containerd for three, and for which of them depends on chance.
Where several nodes pull at once, upstream sends what some of them do not take yet; their links lie idle meanwhile, and
nothing makes up for that: five nodes need 1.5 times as long for eight layers as one does. So what a member asks of a
node as its home is fetched for the node's own client as well, if that is pulling the image.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from ..oci.descriptors import Named
from ..oci.digest import Digest

_IMAGE_LAYERS_MAX: Final = 256
"""Bounds the layers of one image: all of them are looked at for each request of a member. The kernel's overlay file
system takes 128; artifacts may have thousands, and are not read ahead."""


class ImageLayers:
    """Which layers belong together, by the manifests that this node has verified.

    A client that asks for one layer of an image asks for all that it lacks. It may have some unpacked whose compressed
    form neither it nor this node keeps: nobody can tell, and such a layer is read ahead for nothing, from members.

    Args:
        most: bounds the layers that are remembered; those noted first are forgotten first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._images: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        """By the hexadecimal digest of a layer: those of all layers of the image that named it last."""

    def __len__(self) -> int:
        return len(self._images)

    def note(self, named: Sequence[Named]) -> None:
        """Remember the layers among what a manifest names, unless they are too many."""
        layers = tuple(it.digest.hex for it in named if it.place == "layer")
        for layer in layers if len(layers) <= _IMAGE_LAYERS_MAX else ():
            self._images.pop(layer, None)
            self._images[layer] = layers
        while len(self._images) > self._most:
            self._images.popitem(last=False)

    def beside(self, digest: Digest) -> Sequence[str]:
        """The hexadecimal digests of all layers of the image that some content is a layer of; none if it is none."""
        return self._images.get(digest.hex, ())
