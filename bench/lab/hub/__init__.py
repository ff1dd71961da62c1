"""A cluster behind one address, and a registry that counts what it is asked as Docker Hub does."""
