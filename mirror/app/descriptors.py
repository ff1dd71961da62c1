"""Descriptors: how many this process may have open."""

import contextlib
import resource


def descriptors_allowed() -> int:
    """Raise the soft limit to the hard one, and return it.

    The usual soft limit of 1,024 is there for programs that call select(2), which the agent does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return soft
