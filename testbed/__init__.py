"""What tests and benches run: processes, network namespaces, containerd, registries, images and agents.

Everything runs in a folder and, optionally, in a network namespace that the caller gives; the containerd and
the network of the machine are not used. A process stops when its owner stops it, and when its owner is killed. The
wheel does not contain this package.
"""
