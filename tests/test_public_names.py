"""What a package offers stays what it is, whichever of its modules are loaded later."""

import importlib
import pkgutil
import subprocess
import sys
from types import ModuleType

PACKAGES = ("moon_rec", "representation", "ranking", "exchange_rate")


def packages():
    """Every package of the library."""
    for root in PACKAGES:
        package = importlib.import_module(root)
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{root}."):
            if found.ispkg:
                yield importlib.import_module(found.name)


def test_no_public_name_is_lost_when_the_module_of_that_name_is_loaded():
    checked = []
    for package in packages():
        modules = {found.name for found in pkgutil.iter_modules(package.__path__)}
        for name in modules & set(getattr(package, "__all__", ())):
            importlib.import_module(f"{package.__name__}.{name}")
            assert not isinstance(getattr(package, name), ModuleType), f"{package.__name__}.{name}"
            checked.append(f"{package.__name__}.{name}")
    assert "ranking.compare" in checked


def test_compare_is_a_function_after_its_command_was_loaded():
    code = (
        "import ranking.compare, sys; import ranking.judging.side_by_side;"
        "assert ranking.compare([1, 0], [1., 0.], [0., 1.], [1, 1], num_resamples=2).value == -1;"
        "assert callable(sys.modules['ranking.compare'].main)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_command_compare_runs_without_a_warning():
    words = [sys.executable, "-W", "error", "-m", "ranking.compare", "--help"]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert "python -m ranking.compare" in done.stdout and not done.stderr
