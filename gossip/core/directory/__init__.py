"""Who holds what: the Bloom filters of all members, kept equal."""
