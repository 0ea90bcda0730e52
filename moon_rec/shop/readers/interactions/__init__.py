"""One's own log, whatever form it has, as a shop: `import_interactions`, and what its user says of it, `InteractionsConfig`."""

from moon_rec.shop.readers.interactions.config import (
    EventColumns,
    InteractionsConfig,
    ItemColumns,
    LogColumns,
    UserColumns,
)
from moon_rec.shop.readers.interactions.importer import import_interactions

__all__ = [
    "EventColumns",
    "InteractionsConfig",
    "ItemColumns",
    "LogColumns",
    "UserColumns",
    "import_interactions",
]
