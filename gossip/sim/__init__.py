"""A seeded network and cluster around the core, for tests and measurements."""
