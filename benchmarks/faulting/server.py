"""A stand-in for an MLflow server that goes away after so many answers: as much of its REST API as a tracked run needs.

It runs in a process of its own, forked before any thread, and holds what it is sent in memory: one that comes back is empty, like a store that was made anew.
"""

import json
import os
import re
import signal
import socket
import sys
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

API = "/api/2.0/mlflow/"
Asked = dict[str, Any]
MISSING: tuple[int, Any] = (
    404,
    {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "there is no such thing"},
)


class Server:
    """`with Server(10) as server`: a server at `server.uri` that ends after its tenth answer; None: never; 0: it is not there."""

    def __init__(self, answers: int | None = None, port: int = 0) -> None:
        self._answers, self._pid = answers, 0
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._reader, self._writer = os.pipe()

    def __enter__(self) -> "Server":
        if self._answers != 0:
            self._socket.listen(64)
            self._pid = os.fork()
            if self._pid == 0:
                _serve(self._socket, self._answers, self._writer)
        self._socket.close()
        os.close(self._writer)
        return self

    def __exit__(self, *_: object) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        self.taken = b""
        while piece := os.read(self._reader, 1 << 16):
            self.taken += piece
        os.close(self._reader)

    @property
    def counts(self) -> dict[str, int]:
        """After the block: what was asked -> how often."""
        names = self.taken.decode().splitlines()
        return {name: names.count(name) for name in names}


def _serve(listening: socket.socket, answers: int | None, notes: int) -> None:
    """Never returns."""
    store = _Store()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal answers
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, code, answer = store.do(self.path, body)
            text = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            os.write(notes, f"{path}\n".encode())
            if answers is not None:
                answers -= 1
                if answers <= 0:
                    os._exit(0)

        do_POST = do_PUT = do_PATCH = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            return

    try:
        server = HTTPServer(listening.getsockname(), Handler, bind_and_activate=False)
        server.socket = listening
        server.serve_forever()
    except BaseException as error:
        print(f"stand-in server: {error!r}", file=sys.stderr)
    finally:
        os._exit(1)


class _Store:
    """Experiments and runs."""

    def __init__(self) -> None:
        self.experiments: dict[str, Asked] = {}
        self.runs: dict[str, Asked] = {}

    def do(self, address: str, body: bytes) -> tuple[str, int, Any]:
        """Path within the API, code, answer."""
        parts = urlsplit(address)
        if not parts.path.startswith(API):
            return "artifact", 200, {}
        path = parts.path.removeprefix(API)
        asked: Asked = dict(parse_qsl(parts.query)) | (json.loads(body) if body else {})
        found: Callable[[Asked], tuple[int, Any]] | None
        found = getattr(self, "_" + re.sub(r"\W", "_", path), None)
        code, answer = found(asked) if found is not None else MISSING
        return path, code, answer

    def _experiments_get_by_name(self, asked: Asked) -> tuple[int, Any]:
        found = self.experiments.get(asked["experiment_name"])
        return (200, {"experiment": found}) if found else MISSING

    def _experiments_create(self, asked: Asked) -> tuple[int, Any]:
        about = {"experiment_id": "1", "name": asked["name"], "lifecycle_stage": "active"}
        self.experiments[asked["name"]] = about | {"artifact_location": "mlflow-artifacts:/1"}
        return 200, {"experiment_id": "1"}

    def _experiments_search(self, asked: Asked) -> tuple[int, Any]:
        return 200, {"experiments": list(self.experiments.values())}

    def _runs_create(self, asked: Asked) -> tuple[int, Any]:
        key = uuid.uuid4().hex
        info = {"run_id": key, "run_uuid": key, "run_name": asked.get("run_name", "")}
        info |= {"experiment_id": "1", "status": "RUNNING", "lifecycle_stage": "active"}
        info |= {"start_time": asked.get("start_time", 0)}
        info |= {"artifact_uri": f"mlflow-artifacts:/1/{key}/artifacts"}
        self.runs[key] = {"info": info, "tags": asked.get("tags", []), "params": [], "metrics": []}
        return self._runs_get({"run_id": key})

    def _runs_get(self, asked: Asked) -> tuple[int, Any]:
        run = self.runs.get(asked["run_id"])
        if run is None:
            return MISSING
        data = {name: run[name] for name in ("tags", "params", "metrics")}
        return 200, {"run": {"info": run["info"], "data": data}}

    def _runs_search(self, asked: Asked) -> tuple[int, Any]:
        wanted = re.findall(r"tags\.`([^`]+)` = '([^']*)'", asked.get("filter", ""))
        found = [
            self._runs_get({"run_id": key})[1]["run"]
            for key, run in self.runs.items()
            if all({"key": name, "value": value} in run["tags"] for name, value in wanted)
        ]
        return 200, {"runs": found}

    def _runs_log_batch(self, asked: Asked) -> tuple[int, Any]:
        run = self.runs.get(asked["run_id"])
        if run is None:
            return MISSING
        for name in ("tags", "params", "metrics"):
            run[name] += asked.get(name, [])
        return 200, {}

    def _runs_log_metric(self, asked: Asked) -> tuple[int, Any]:
        return (200, {}) if asked["run_id"] in self.runs else MISSING

    _runs_log_parameter = _runs_log_metric

    def _runs_set_tag(self, asked: Asked) -> tuple[int, Any]:
        run = self.runs.get(asked["run_id"])
        if run is None:
            return MISSING
        run["tags"].append({"key": asked["key"], "value": asked["value"]})
        return 200, {}

    def _runs_update(self, asked: Asked) -> tuple[int, Any]:
        run = self.runs.get(asked["run_id"])
        if run is None:
            return MISSING
        run["info"] |= {name: asked[name] for name in ("status", "end_time") if name in asked}
        return 200, {"run_info": run["info"]}
