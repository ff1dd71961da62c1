"""The runtime's own content as a store, through containerd's gRPC API and its content directory.

containerd says what it holds; the bytes are read directly from its files. Nothing is written but leases, which keep
what is being pulled from being collected. This needs the optional extra `skvaller[containerd]`; without it, importing
this package raises ConfigError.

    store ──> leases ──> client ──> messages
      │          └─────> trees
      ├─────> connection, relist
      └─────> folder, sources, tags
"""

from ...errors import ConfigError

try:
    from .store import ContainerdStore
except ModuleNotFoundError as missing:
    if missing.name is None or missing.name.partition(".")[0] != "h2":
        raise
    raise ConfigError(
        f"reading containerd's store needs the Python package {missing.name}: "
        "install skvaller with its extra, pip install 'skvaller[containerd]', or leave --containerd out"
    ) from None

__all__ = ["ContainerdStore"]
