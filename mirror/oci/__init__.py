"""Pure values of the OCI specifications: references, digests, manifests, ranges, content. No I/O."""
