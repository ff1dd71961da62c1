"""Images as files: what `skvaller load` reads and `skvaller save` writes.

An archive is a tar file, a folder or a pipe, with an OCI layout or what `docker save` writes. Nobody is trusted: names
stay inside, documents and counts are bounded, each digest is checked. `load` and `save` are clients of the distribution
API of an agent, so they keep no second copy of anything.

Sources: OCI image-spec, image-layout.md; Docker image specification v1.2, "Combined Image JSON + Filesystem Changeset
Format"; POSIX pax, "ustar Interchange Format".
"""
