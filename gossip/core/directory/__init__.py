"""Who holds what: everybody's Bloom filters, kept equal."""
