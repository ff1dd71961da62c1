"""What tests and benches run: processes, network namespaces, containerd, registries, images and agents.

Everything runs in a folder and, optionally, in a network namespace that the caller gives; nothing of the machine's own
containerd or network is used. A process ends when its owner stops it, and also when its owner is killed. The wheel
does not contain this package.
"""
