"""Recall extrapolated to larger catalogues."""
