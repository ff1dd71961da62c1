"""What belongs to Kubernetes alone: the work of the chart's small pods, and what distributions need.

The agent itself knows nothing of Kubernetes: it finds the others by a name, and asks no API server.
"""
