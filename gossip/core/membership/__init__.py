"""Who is in the cluster: the table, and SWIM's rules for changing it."""
