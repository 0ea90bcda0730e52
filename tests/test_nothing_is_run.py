"""No file that is read can run code: the whole project is searched for what would let it, by syntax, so that no spelling of it hides in a string or a comment.

Each place that is allowed is named with its reason; one that is not there any more must leave the list.
"""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("moon_rec", "representation", "ranking", "exchange_rate", "benchmarks", "tests")
MODULES = {
    "pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle", "yaml", "ruamel", "code", "runpy", "imp", "xml", "xmlrpc", "pty",
}  # fmt: skip
BUILTINS = {"eval", "exec", "compile", "__import__", "input"}
CALLS = {
    "torch.load", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter", "torch.export.load", "torch.ops.load_library", "torch.save",
    "os.system", "os.popen", "os.execv", "os.execvp", "os.execve", "os.spawnv", "os.spawnl", "os.startfile", "ctypes.cdll.LoadLibrary",
    "subprocess.getoutput", "subprocess.getstatusoutput", "importlib.util.spec_from_file_location", "importlib.machinery.SourceFileLoader",
    "pandas.read_pickle", "pd.read_pickle", "shutil.unpack_archive", "tempfile.mktemp", "jinja2.Template", "mlflow.pyfunc.load_model", "mlflow.pytorch.load_model",
}  # fmt: skip
METHODS = {"extractall", "read_pickle", "to_pickle", "exec_module", "load_model"}
MAY = {
    ("representation/starters/unpack.py", "torch.load"): "a published state dict, by digest, read with weights_only and saved as safetensors",
    ("tests/representation/starters/test_unpack.py", "torch.save"): "makes a state dict as its publisher did",
    ("tests/representation/starters/test_unpack.py", "import pickle"): "writes one with code in it, which must not run",
    ("tests/test_examples.py", "import runpy"): "the four scripts of this repository, as a reader would run them",
    ("tests/settings/observed.py", "__import__()"): "a class by its name in this repository, to watch what it reads",
}  # fmt: skip


@functools.cache
def _files() -> list[Path]:
    found = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]
    assert len(found) > 400, "the project has moved"
    return found


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((one.value for one in call.keywords if one.arg == name), None)


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def dangers(source: str) -> Iterator[str]:
    """What in a module's source could run what it reads."""
    aliases: dict[str, str] = {}
    nodes = list(ast.walk(ast.parse(source)))
    for node in nodes:
        if isinstance(node, ast.Import):
            for one in node.names:
                aliases[one.asname or one.name.split(".")[0]] = one.name if one.asname else one.name.split(".")[0]  # fmt: skip
                if one.name.split(".")[0] in MODULES:
                    yield f"import {one.name}"
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if node.module.split(".")[0] in MODULES:
                yield f"import {node.module}"
            for one in node.names:
                aliases[one.asname or one.name] = f"{node.module}.{one.name}"
    for node in nodes:
        if isinstance(node, ast.Call):
            yield from _of_call(node, aliases)
        elif isinstance(node, ast.Attribute) and _full(_dotted(node), aliases) in CALLS:
            yield _full(_dotted(node), aliases)


def _full(name: str, aliases: dict[str, str]) -> str:
    first, dot, rest = name.partition(".")
    return f"{aliases.get(first, first)}{dot}{rest}"


def _of_call(node: ast.Call, aliases: dict[str, str]) -> Iterator[str]:
    name = _full(_dotted(node.func), aliases)
    last = name.rsplit(".", 1)[-1]
    if isinstance(node.func, ast.Name) and (name in BUILTINS or name in CALLS):
        yield f"{name}()"
    if isinstance(node.func, ast.Attribute) and (last in METHODS or name == "builtins.eval"):
        yield f".{last}()"
    if name == "numpy.load" and not _is(_keyword(node, "allow_pickle"), False):
        yield "numpy.load without allow_pickle=False"
    if _is(_keyword(node, "shell"), True):
        yield "shell=True"
    for flag, safe in (("trust_remote_code", False), ("weights_only", True), ("autoescape", True)):
        given = _keyword(node, flag)
        if given is not None and not _is(given, safe):
            yield f"{flag} that is not {safe}"
    if name == "jinja2.Environment" and _keyword(node, "autoescape") is None:
        yield "jinja2.Environment without autoescape"
    is_auto = name.split(".")[-2:-1] and name.split(".")[-2].startswith("Auto")
    if is_auto and last == "from_pretrained" and _keyword(node, "trust_remote_code") is None:
        yield f"{name} without trust_remote_code=False"


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_that_is_read_is_run(folder):
    found = {
        (file.relative_to(ROOT).as_posix(), danger)
        for file in _files()
        if file.is_relative_to(ROOT / folder)
        for danger in dangers(file.read_text(encoding="utf-8"))
    }
    allowed = {key for key in MAY if key[0].startswith(f"{folder}/")}
    assert found - allowed == set(), "say in MAY why it is needed, or find another way"
    assert allowed - found == set(), "no longer there: take it off the list"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "import dill as d", "import yaml", "from joblib import load", "import shelve", "import marshal",
        "import torch\ntorch.load('x')", "from torch import load\nload('x')", "import torch as t\nt.load(f, weights_only=True)", "import torch\nread = torch.load",
        "eval('1')", "exec(x)", "compile(x, '', 'exec')", "__import__(x)", "import os\nos.system('x')", "from os import popen\npopen('x')",
        "import subprocess\nsubprocess.run('x', shell=True)", "import numpy as np\nnp.load('x')", "import numpy\nnumpy.load('x', allow_pickle=True)",
        "from numpy import load\nload('x')", "AutoModel.from_pretrained(x)", "AutoModel.from_pretrained(x, trust_remote_code=True)", "f(trust_remote_code=asked)",
        "archive.extractall(where)", "import jinja2\njinja2.Environment()", "import jinja2\njinja2.Environment(autoescape=False)", "f(weights_only=False)",
        "import shutil\nshutil.unpack_archive(x)", "mlflow.pyfunc.load_model(x)",
    ],
)  # fmt: skip
def test_the_search_finds(source):
    assert list(dangers(source)), source


@pytest.mark.parametrize(
    "source",
    [
        "model.eval()", "import re\nre.compile('x')", "column.list.eval(x)", "import numpy as np\nnp.load('x', allow_pickle=False)", "'import pickle'",
        "AutoTokenizer.from_pretrained(x, trust_remote_code=False)", "import subprocess\nsubprocess.run(['x'])",
    ],
)  # fmt: skip
def test_the_search_leaves(source):
    assert not list(dangers(source)), source
