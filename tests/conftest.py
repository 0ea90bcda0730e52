"""What all tests share: repeatable hypothesis runs, quiet MLflow, and the folder of real data."""

import os

import hypothesis
import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data sets; the test is skipped where there is none."""
    from moon_rec import data_folder

    folder = data_folder()
    if folder is None:
        pytest.skip("no real data: set MOON_REC_DATA to a folder with myntra/, movielens/ ...")
    return folder
