"""A small stand-in for an MLflow server: what the REST API of runs promises, with faults on demand.

It takes what it is sent twice as two, unlike MLflow's own store of figures: what arrives once here was sent once.
"""

import contextlib
import json
import re
import socket
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

API = "/api/2.0/mlflow/"


class StandIn:
    """Runs in this process, on a port of its own; `stop` and `start` as often as wanted, with what it holds kept.

    Attributes:
        fault: "" answers; "error" answers 500 to all; "late" does what is asked and then breaks off without an answer ("late create" when a run is made); "hang" never answers.
        delay: seconds before each answer.
        refuse: a request that this accepts (path, body) is answered with INVALID_PARAMETER_VALUE.
    """

    def __init__(self):
        self.experiments, self.runs, self.files, self.calls = {}, {}, {}, []
        self.fault, self.delay = "", 0.0
        self.refuse = lambda path, body: False
        self._free = threading.Event()
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self._server, self._connections = None, set()

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                stand_in._connections.add(self.connection)

            def finish(self):
                stand_in._connections.discard(self.connection)
                with contextlib.suppress(OSError):
                    super().finish()

            def do_GET(self):
                stand_in._answer(self)

            do_POST = do_PUT = do_PATCH = do_GET

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def stop(self):
        self._free.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
            for one in list(self._connections):  # which a killed process leaves no longer open
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def run(self, name):
        """The one run of that name."""
        (found,) = [run for run in self.runs.values() if run["info"]["run_name"] == name]
        return found

    def _answer(self, request):
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if request.headers.get("Transfer-Encoding") == "chunked":
            raise AssertionError("chunked")
        parts = urlsplit(request.path)
        time.sleep(self.delay)
        if self.fault == "hang":
            self._free.wait(60)
            return
        if self.fault == "error":
            self._say(request, 500, {"error_code": "INTERNAL_ERROR", "message": "out of order"})
            return
        code, answer = self._do(request.command, parts, body)
        if self.fault == "late" or (
            self.fault == "late create" and parts.path.endswith("runs/create")
        ):
            request.close_connection = True
            request.connection.close()
            return
        self._say(request, code, answer)

    def _say(self, request, code, answer):
        text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        try:
            request.send_response(code)
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", str(len(text)))
            request.end_headers()
            request.wfile.write(text)
        except OSError:
            pass

    def _do(self, method, parts, body):
        artifacts = "/api/2.0/mlflow-artifacts/artifacts/"
        if parts.path.startswith(artifacts):
            name = unquote(parts.path.removeprefix(artifacts))
            if method == "PUT":
                self.files[name] = body
                return 200, {}
            return (200, self.files[name]) if name in self.files else _missing()
        if not parts.path.startswith(API):
            return _missing()
        path = parts.path.removeprefix(API)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        asked |= json.loads(body) if body else {}
        self.calls.append((path, asked))
        if self.refuse(path, asked):
            return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "not this one"}
        name = "_" + re.sub(r"\W", "_", path)
        return getattr(self, name)(asked) if hasattr(self, name) else _missing()

    def _experiments_get_by_name(self, asked):
        found = self.experiments.get(asked["experiment_name"])
        return (200, {"experiment": found}) if found else _missing()

    def _experiments_create(self, asked):
        key = str(len(self.experiments) + 1)
        self.experiments[asked["name"]] = {
            "experiment_id": key,
            "name": asked["name"],
            "lifecycle_stage": "active",
            "artifact_location": f"mlflow-artifacts:/{key}",
        }
        return 200, {"experiment_id": key}

    def _experiments_search(self, asked):
        return 200, {"experiments": list(self.experiments.values())}

    def _runs_create(self, asked):
        key = uuid.uuid4().hex
        info = {
            "run_id": key,
            "run_uuid": key,
            "run_name": asked.get("run_name", ""),
            "experiment_id": asked["experiment_id"],
            "status": "RUNNING",
            "start_time": asked["start_time"],
            "lifecycle_stage": "active",
            "artifact_uri": f"mlflow-artifacts:/{asked['experiment_id']}/{key}/artifacts",
        }
        data = {"tags": {tag["key"]: tag["value"] for tag in asked["tags"]}}
        self.runs[key] = {"info": info, "params": {}, "metrics": [], **data}
        return 200, {"run": self._shown(key)}

    def _runs_get(self, asked):
        key = asked["run_id"]
        return (200, {"run": self._shown(key)}) if key in self.runs else _missing()

    def _runs_search(self, asked):
        wanted = re.findall(r"tags\.`([^`]+)` = '([^']*)'", asked.get("filter", ""))
        status = re.findall(r"attributes\.status = '(\w+)'", asked.get("filter", ""))
        found = [
            key
            for key, run in self.runs.items()
            if all(run["tags"].get(name) == value for name, value in wanted)
            and status in ([], [run["info"]["status"]])
            and run["info"]["lifecycle_stage"] == "active"
        ]
        found.sort(key=lambda key: -int(self.runs[key]["info"]["start_time"]))
        return 200, {"runs": [self._shown(key) for key in found]}

    def _runs_log_batch(self, asked):
        run = self.runs.get(asked["run_id"])
        if run is None:
            return _missing()
        run["params"] |= {one["key"]: one["value"] for one in asked.get("params", [])}
        run["metrics"] += asked.get("metrics", [])
        return 200, {}

    def _runs_set_tag(self, asked):
        if asked["run_id"] not in self.runs:
            return _missing()
        self.runs[asked["run_id"]]["tags"][asked["key"]] = asked["value"]
        return 200, {}

    def _runs_update(self, asked):
        info = self.runs[asked["run_id"]]["info"]
        info |= {name: asked[name] for name in ("status", "end_time") if name in asked}
        return 200, {"run_info": info}

    def _runs_delete(self, asked):
        self.runs[asked["run_id"]]["info"]["lifecycle_stage"] = "deleted"
        return 200, {}

    def _metrics_get_history(self, asked):
        found = [
            one
            for one in self.runs[asked["run_id"]]["metrics"]
            if one["key"] == asked["metric_key"]
        ]
        return 200, {"metrics": found}

    def _shown(self, key):
        run = self.runs[key]
        newest = {one["key"]: one for one in run["metrics"]}
        data = {
            "params": [{"key": name, "value": value} for name, value in run["params"].items()],
            "tags": [{"key": name, "value": value} for name, value in run["tags"].items()],
            "metrics": list(newest.values()),
        }
        return {"info": run["info"], "data": data}


def _missing():
    return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "there is no such thing"}
