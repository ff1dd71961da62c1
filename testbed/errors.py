"""The error of this package."""


class RunError(Exception):
    """Something that was started, or waited for, did not do what it should; the message says what."""
