"""`python -m mirror`: the same as `skvaller`."""

from .cli import main

main()
