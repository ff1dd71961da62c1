"""What clients saw and what was done, counted, and written down line by line."""

import json
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from .settings import ERRORS_KEPT


@dataclass(frozen=True, slots=True)
class Error:
    """One error that a client saw, or something else that should not be.

    Args:
        at_s: when, seconds after the start.
        node: whose client it was.
        kind: of the failure.
        asked: what for.
        detail: what was seen.
        took_s: from the question to the error, seconds.
        excuse: why it is excused; None: it is a defect.
    """

    at_s: float
    node: str
    kind: str
    asked: str
    detail: str
    took_s: float
    excuse: str | None


class Ledger:
    """Counts of everything, and the lines. Threads write it.

    Args:
        path: of the file that gets each event as one JSON object.
    """

    def __init__(self, path: Path) -> None:
        self.reads: Counter[str] = Counter()
        """By kind of question."""
        self.read_bytes: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        """By kind."""
        self.errors: Counter[tuple[str, str | None]] = Counter()
        """By kind and excuse."""
        self.kept: list[Error] = []
        """The first errors one by one; defects beyond them too."""
        self._lock = threading.Lock()
        self._file = path.open("a", buffering=1)

    def read(self, kind: str, count: int) -> None:
        """A question was asked, and these bytes came."""
        with self._lock:
            self.reads[kind] += 1
            self.read_bytes[kind] += count

    def fault(self, kind: str, lane: str, at_s: float, what: str) -> None:
        """Something was done."""
        with self._lock:
            self.faults[kind] += 1
        self._write("fault", {"at_s": round(at_s, 2), "lane": lane, "kind": kind, "what": what})

    def note(self, at_s: float, what: str) -> None:
        """Something else that helps to read the file."""
        self._write("note", {"at_s": round(at_s, 2), "what": what})

    def error(self, error: Error) -> None:
        """Something was not right."""
        with self._lock:
            self.errors[error.kind, error.excuse] += 1
            if len(self.kept) < ERRORS_KEPT:
                self.kept.append(error)
        self._write("error", asdict(error))

    @property
    def defects(self) -> list[Error]:
        """Those of the errors that are kept which nothing excuses."""
        return [error for error in self.kept if error.excuse is None]

    def count(self, *, excused: bool, kind: str | None = None) -> int:
        """How many errors there were."""
        with self._lock:
            return sum(
                count
                for (each, excuse), count in self.errors.items()
                if (excuse is not None) is excused and kind in (None, each)
            )

    def close(self) -> None:
        """No more lines."""
        self._file.close()

    def _write(self, event: str, facts: object) -> None:
        line = json.dumps({"event": event, "clock": time.strftime("%H:%M:%S"), "facts": facts}, ensure_ascii=False)
        with self._lock:
            self._file.write(line + "\n")
