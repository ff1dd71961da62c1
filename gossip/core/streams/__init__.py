"""Conversations over streams."""
