"""A Parquet file that `study.json` names by its digest: whether it is that file, before any of it is read."""

from pathlib import Path

from moon_rec.errors import StudyError
from moon_rec.files import digest_file
from moon_rec.parquet_bounds import refuse_bombs


def check_recorded(file: Path, digest: str, what: str, most_bytes: int) -> None:
    """Refuse a file that is not the one recorded.

    Args:
        what: which one, for the error.

    Raises:
        StudyError: not there, a link, too large, other bytes than recorded, or Parquet that would grow beyond bounds.
    """
    if file.is_symlink():
        raise StudyError(f"{what}: {file.name} is a link; put the file itself there")
    if not file.is_file():
        raise StudyError(
            f"{what} is not there, and study.json names it; put it back, or run the study again"
        )
    if (size := file.stat().st_size) > most_bytes:
        raise StudyError(f"{what}: {size:,} bytes; the most are {most_bytes:,}")
    if (found := digest_file(file)) != digest:
        raise StudyError(
            f"{what} is not the file that study.json records (digest {found}, recorded {digest}); put the study's own back"
        )
    refuse_bombs(file, StudyError)
