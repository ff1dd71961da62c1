"""Fetching: what this node does not hold is brought from holders, homes and upstream, once, for everybody who asks.

One fetch a blob: whoever asks while it runs reads the same spool, on this node or, as of a home, on another. The plan
says which source brings which bytes; this package carries it out, checks the digest, and finds out who lied when it is
wrong.
"""

from .fetch import Fetch
from .fetcher import Fetcher, Relay
from .record import Record
from .verdict import verdict

__all__ = ["Fetch", "Fetcher", "Record", "Relay", "verdict"]
