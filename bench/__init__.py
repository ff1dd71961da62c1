"""Measurements of Skvaller beside others, in one run on one machine: read the ratios, not the absolute figures."""
