"""`python -m bench micro`: the small parts by themselves, Bloom filters beside the keys themselves."""
