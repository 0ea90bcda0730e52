"""Which code makes rankers and their scores, and on what it runs."""

from moon_rec.code_version import code_version


def made_by() -> dict[str, str]:
    """Digest of the sources, and versions of what computes."""
    return code_version(
        ("moon_rec", "ranking"), ("torch", "torchrec", "numpy", "polars", "scikit-learn")
    )
