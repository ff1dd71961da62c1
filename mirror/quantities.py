"""Numbers as people say them: times, sizes, counts."""


def time_text(seconds: float) -> str:
    """A time as people say it, in the unit of which it has two at least."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def size_text(count: int) -> str:
    """A number of bytes as people say it, in binary units."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}" if size < 100 else f"{size:.0f} {unit}"


def count_text(count: int, noun: str) -> str:
    """So many of something, as people say it."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
