"""What a shop says of itself in `manifest.json`.

Notable choices
- Only six fields are needed, so that anyone can write one by hand beside their own Parquet tables:
  `schema_version`, `name`, `source`, `is_simulated`, `cut_time`, `test_time`.
- Row counts, sizes and fingerprints (the digest of a table's file) are written by `ShopWriter`. They are a promise that
  `integrity.py` holds the files to, and never taken for the files: the digest of a shop is that of the bytes on disk.
- `non_clicks` is how non-clicks were drawn, null (or absent) where they were observed; like the source it is no part of the digest.
- A table that they do not name is promised nothing. `shop check --renew` writes them for the files as they are.
"""

from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from moon_rec.errors import MoonRecError, ShopError, first_line
from moon_rec.files import digest_file, digest_of, read_json, write_json
from moon_rec.shop.non_click_recipe import NonClickRecipe
from moon_rec.shop.schema import FILES, MANIFEST, SCHEMA_VERSION

EXAMPLE = (
    '{"schema_version": 1, "name": "mine", "source": "our log, May", "is_simulated": false, '
    '"cut_time": "2025-05-20T00:00:00", "test_time": "2025-05-25T00:00:00"}'
)


@dataclass(frozen=True)
class Manifest:
    """Name, origin, the two times that split the shop, and counts, sizes and fingerprints of its tables.

    Train is before `cut_time`, validation from there to `test_time`, test from there on; both are naive UTC.
    """

    name: str
    source: str
    is_simulated: bool
    cut_time: datetime
    test_time: datetime
    rows: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    non_clicks: NonClickRecipe | None = None
    schema_version: int = SCHEMA_VERSION

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into the folder."""
        values = asdict(self) | {
            "cut_time": self.cut_time.isoformat(),
            "test_time": self.test_time.isoformat(),
        }
        write_json(folder / MANIFEST, values)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read and check `manifest.json`.

        Raises:
            ShopError: it is absent, is not JSON, misses a field, or a field has the wrong type.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise ShopError(
                f"{folder} has no {MANIFEST}: write one such as {EXAMPLE}, or make a shop with "
                "`python -m moon_rec shop import tables --data FOLDER --out FOLDER` or moon_rec.shop.writer.ShopWriter"
            )
        try:
            values = read_json(path)
        except (MoonRecError, ValueError, OSError, RecursionError) as error:
            reason = first_line(error)
            raise ShopError(
                f"{path} cannot be read as JSON ({reason}): it should look like {EXAMPLE}"
            ) from None
        if not isinstance(values, dict):
            raise ShopError(
                f"{path} holds a {type(values).__name__}, not an object: it should look like {EXAMPLE}"
            )
        return _parse(values, path)

    def renewed(self, folder: Path) -> "Manifest":
        """The same with counts, sizes and fingerprints of the tables as they are on disk now."""
        files = {table: folder / FILES[table] for table in sorted(FILES)}
        files = {table: file for table, file in files.items() if file.is_file()}
        return replace(
            self,
            rows={table: pq.read_metadata(file).num_rows for table, file in files.items()},
            sizes={table: file.stat().st_size for table, file in files.items()},
            fingerprints={table: digest_file(file) for table, file in files.items()},
        )

    def digest(self, folder: Path) -> str:
        """16 hex characters over the tables' contents and the two times; names and sources do not count."""
        files = {table: folder / name for table, name in FILES.items()}
        return digest_of(
            {
                "schema_version": self.schema_version,
                "tables": {
                    table: digest_file(file) for table, file in files.items() if file.is_file()
                },
                "cut_time": self.cut_time.isoformat(),
                "test_time": self.test_time.isoformat(),
            }
        )


def parse_time(value: object, where: str) -> datetime:
    """A naive UTC time from an ISO text or a datetime; a time with a zone is moved to UTC.

    Raises:
        ShopError: the value is no time.
    """
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise ShopError(
            f"{where}: {value!r} is not a time; write it as 2025-05-20T00:00:00 (UTC)"
        ) from None


def _parse(values: dict[str, Any], path: Path) -> Manifest:
    version = values.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ShopError(
            f"{path}: schema_version is {version!r}, wanted {SCHEMA_VERSION}: write the shop again with ShopWriter"
        )
    wanted: dict[str, type] = {
        "name": str,
        "source": str,
        "is_simulated": bool,
        "cut_time": str,
        "test_time": str,
    }
    for name, kind in wanted.items():
        if not isinstance(values.get(name), kind):
            found = repr(values[name]) if name in values else "absent"
            raise ShopError(
                f"{path}: {name} is {found}, wanted {kind.__name__}: it should look like {EXAMPLE}"
            )
    optional = {}
    for name, kind in {"rows": int, "sizes": int, "fingerprints": str}.items():
        entries = values.get(name) or {}
        if not isinstance(entries, dict) or not all(
            type(entry) is kind for entry in entries.values()
        ):
            raise ShopError(
                f"{path}: {name} is {entries!r}, wanted table -> {kind.__name__}; leave it out if unsure"
            )
        unknown = [table for table in entries if table not in FILES]
        if unknown:
            raise ShopError(
                f"{path}: {name} names a table {unknown[0]!r}, wanted {', '.join(FILES)}; leave it out"
            )
        optional[name] = entries
    try:
        non_clicks = NonClickRecipe.read(values.get("non_clicks"))
    except ValueError as error:
        raise ShopError(f"{path}: non_clicks: {error}") from None
    return Manifest(
        non_clicks=non_clicks,
        name=values["name"],
        source=values["source"],
        is_simulated=values["is_simulated"],
        cut_time=parse_time(values["cut_time"], f"{path}: cut_time"),
        test_time=parse_time(values["test_time"], f"{path}: test_time"),
        **optional,
    )
