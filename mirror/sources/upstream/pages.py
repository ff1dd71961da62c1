"""Pages of lists, as registries send them: where the next one begins.

Source: RFC 8288 (Link); OCI distribution-spec, "Content Discovery".
"""

import re
from collections.abc import Iterable, Mapping

from yarl import URL

QUERY_MAX = 2048
"""Bounds the query of a page, in characters: registries put marks of their own into it, of some hundred characters."""
PAGE_MAX_BYTES = 8 * 1024 * 1024
"""Bounds a page, in bytes: some 100,000 tags of one repository."""

_LINK = re.compile(r"<([!-;=?-~]*)>\s*((?:;[^,<]*)*)")
_FILTERS = re.compile(r"[A-Za-z, ]{1,100}")
_NEXT = re.compile(r";\s*rel\s*=\s*\"?next\"?\s*(?:;|$)", re.IGNORECASE)


def filters(headers: Mapping[str, str]) -> str | None:
    """The filters that a registry says it has applied; None if it says nothing that can stand in a header."""
    said = headers.get("OCI-Filters-Applied", "")
    return said if _FILTERS.fullmatch(said) else None


def following(headers: Iterable[str]) -> str | None:
    """The query of the next page, percent-encoded; None if the headers name none that can be used."""
    for header in headers:
        for target, parameters in _LINK.findall(header[: 2 * QUERY_MAX]):
            if _NEXT.search(parameters):
                try:
                    query = URL(target, encoded=True).raw_query_string
                except ValueError:
                    return None
                return query if 0 < len(query) <= QUERY_MAX else None
    return None
