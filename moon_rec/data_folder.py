"""Where the real data sets lie, when they do."""

import os
from pathlib import Path

VARIABLE = "MOON_REC_DATA"


def data_folder() -> Path | None:
    """The folder of real data sets: `$MOON_REC_DATA`, else `shared/data` beside the project's folder, else None.

    Readers take any folder; this one only spares tests and examples from naming it.
    """
    named = os.environ.get(VARIABLE)
    project = Path(__file__).resolve().parent.parent
    for folder in [Path(named)] if named else [project.parent / "shared" / "data"]:
        if folder.is_dir():
            return folder
    return None
