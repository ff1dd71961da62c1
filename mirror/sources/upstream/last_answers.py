"""The last answers of registries, a bounded number of them, for people who ask why something is here or is not."""

from collections import deque

from .. import RegistryAnswer


class LastAnswers:
    """What registries answered this node, the last so many times.

    Args:
        most: bounds what is remembered; the oldest is forgotten first.
    """

    def __init__(self, most: int) -> None:
        self._answers: deque[RegistryAnswer] = deque(maxlen=most)

    def keep(self, answer: RegistryAnswer) -> None:
        """Take note of an answer, or of that there was none."""
        self._answers.append(answer)

    def of(self, what: str, name: str | None = None) -> list[RegistryAnswer]:
        """What was answered about a digest, or about a tag of the repository of a name; the last answer first."""
        return [it for it in reversed(self._answers) if it.what == what and (name is None or it.name == name)]
