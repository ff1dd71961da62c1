"""Repositories: the names under which upstream is asked for one blob, one after the other."""

from ..oci.content import Content


class Repositories:
    """The names by which somebody asked for a blob.

    If one repository does not have it, or not for this node, another may.

    Args:
        content: the blob under its first name.
        names_max: the bound on names.
    """

    def __init__(self, content: Content, names_max: int) -> None:
        self._contents = [content]
        self._names_max = names_max
        self.current = content
        """The blob under the name by which upstream is asked now."""

    def __len__(self) -> int:
        return len(self._contents)

    @property
    def tried(self) -> list[Content]:
        """The blob under each name by which upstream was asked, the present one last."""
        return self._contents[: self._contents.index(self.current) + 1]

    def add(self, content: Content) -> None:
        """Add a name, unless it is known, or of the other kind of content, or there are too many."""
        fits = content.kind == self.current.kind and len(self._contents) < self._names_max
        if fits and content not in self._contents:
            self._contents.append(content)

    def turn_to_next(self, *, elsewhere: bool) -> bool:
        """Go on with the next name; return False if there is none.

        Args:
            elsewhere: whether it must be of another registry, for the present one may be asked again in a moment.
        """
        place = self._contents.index(self.current) + 1
        following = self._contents[place] if place < len(self._contents) else None
        if following is None or (elsewhere and following.repository.registry == self.current.repository.registry):
            return False
        self.current = following
        return True
