"""What all tests share: repeatable hypothesis runs, quiet MLflow, and the folder of real data."""

import os
import signal

import hypothesis
import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A shell starts jobs in the background with Ctrl-C ignored, and so it would stay for the commands that tests stop by it.
for each, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(each) is signal.SIG_IGN:
        signal.signal(each, handler)

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
