"""`python -m bench lab chaos`: clients that check every byte, on a cluster to which everything happens."""
