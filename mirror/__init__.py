"""The registry mirror: a container runtime's nearest registry, fed by the other nodes and, once, by upstream."""

__version__ = "0.1.0"
