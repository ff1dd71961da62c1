"""The spool: a blob that is still arriving, and everybody who reads it meanwhile."""

from .spool import Spool

__all__ = ["Spool"]
