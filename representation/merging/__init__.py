"""Encoders that started from one become one: averages of their weights, and sums of what each learnt (`combination`); which go together (`agreement`); adapters alone (`adapters`)."""

from representation.merging.merge import merge_encoders

__all__ = ["merge_encoders"]
