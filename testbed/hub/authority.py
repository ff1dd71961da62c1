"""An authority for certificates of names that belong to others, believed by whatever is run while it counts."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trustme

_VARIABLE: Final = "SSL_CERT_FILE"
"""Read by OpenSSL, and so by Python, and by programs in Go: the authorities that count instead of the system's."""


class Authority:
    """Issues certificates.

    Args:
        folder: for its own.
    """

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.file = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(self.file)

    def server(self, name: str) -> ssl.SSLContext:
        """What a server of a name needs."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._authority.issue_cert(name).configure_cert(context)
        return context

    @contextmanager
    def believed(self) -> Iterator[None]:
        """Programs that are started inside of `with` believe it, and no other authority."""
        before = os.environ.get(_VARIABLE)
        os.environ[_VARIABLE] = str(self.file)
        try:
            yield
        finally:
            del os.environ[_VARIABLE]
            if before is not None:
                os.environ[_VARIABLE] = before
