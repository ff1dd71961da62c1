"""`skvaller demo`: a real cluster on this machine, watched while it shares an image."""

from .run import run

__all__ = ["run"]
