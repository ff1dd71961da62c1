"""Discovery by gossip: the only package of the mirror that imports `gossip`."""

from .keys import KeyRefusal, key_id, load_keys
from .notes import SwimNotes
from .router import Figures, SwimRouter, SwimSettings

__all__ = ["Figures", "KeyRefusal", "SwimNotes", "SwimRouter", "SwimSettings", "key_id", "load_keys"]
