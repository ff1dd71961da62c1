"""The spool: a blob that is still arriving, and everybody who reads it meanwhile."""

from .backing import Backing, DiskFile, MemoryWindow
from .reader import Reader
from .readers import Cursor
from .spool import Spool

__all__ = ["Backing", "Cursor", "DiskFile", "MemoryWindow", "Reader", "Spool"]
