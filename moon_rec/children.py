"""Processes that a command starts end with it, however it ends."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """In a process that `multiprocessing` started: end when its parent has gone, even killed. Ctrl-C of a terminal, which reaches all, is the parent's to answer."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "called in a child"
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        parent.join()  # a pipe that the system closes when the parent ends
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def end_with_launcher() -> None:
    """In a process that torchrun started: be sent SIGTERM when it has gone, where the system can (Linux); it sends one itself unless it is killed."""
    if "TORCHELASTIC_RUN_ID" in os.environ and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def end_children() -> None:
    """End all processes that `multiprocessing` started here and that still run; what they had begun is lost, what they had written whole is not."""
    for child in multiprocessing.active_children():
        child.terminate()
