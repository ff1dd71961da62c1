"""A real Kubernetes on this machine: a control plane and kubelets, each in namespaces of its own.

Every node has its own files at the usual paths (`/etc/containerd`, `/run`, `/var/lib`), its own processes and its own
network, so that what is installed there finds what it finds on a host. Nothing of the machine's own is changed.
"""
