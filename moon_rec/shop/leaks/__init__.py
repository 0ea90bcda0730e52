"""What makes a shop's figures better than they are: columns that know the label, rows and pictures on both sides of the cut."""

from moon_rec.shop.leaks.knowledge import Knowledge, knowledge, position_knowledge
from moon_rec.shop.leaks.warnings import leak_warnings, leaks_by_check

__all__ = ["Knowledge", "knowledge", "leak_warnings", "leaks_by_check", "position_knowledge"]
