"""`python -m bench all`: every bench, one after the other, each with its JSON in one folder."""
