"""The spool: a blob that is still arriving, and everybody who reads it meanwhile."""

from .backing import Backing, DiskFile, MemoryWindow
from .reader import Reader
from .spool import Spool

__all__ = ["Backing", "DiskFile", "MemoryWindow", "Reader", "Spool"]
