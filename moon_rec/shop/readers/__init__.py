"""Public data sets, and anyone's own tables, as shops."""

from moon_rec.shop.readers.movielens import MovieLensConfig, import_movielens
from moon_rec.shop.readers.online_retail import OnlineRetailConfig, import_online_retail
from moon_rec.shop.readers.tables import TablesConfig, import_tables

__all__ = [
    "MovieLensConfig",
    "OnlineRetailConfig",
    "TablesConfig",
    "import_movielens",
    "import_online_retail",
    "import_tables",
]
