"""Exact and approximate search: the rows of a gallery that are nearest to a query."""
