"""What a cluster can do wrong is said in one line, and never waited for without end."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from rtmkc.errors import CapacityError, InputError
from rtmkc.model import cluster
from rtmkc.model.cluster import ClusterExecutor, watched, workers_at
from rtmkc.model.compute import Compute

distributed = pytest.importorskip("distributed")


class Future:
    """Gives what it is told to, one after the other: results or exceptions."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def result(self, timeout):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Client:
    """As much of Dask's client as is asked of it."""

    class scheduler:
        address = "tcp://10.0.0.5:8786"

    def __init__(self, *futures, workers=1, said=None):
        self.futures, self.workers, self.said = futures, workers, said or {}

    def scheduler_info(self):
        return {"workers": dict.fromkeys(range(self.workers))}

    def map(self, function, items, pure):
        assert len(items) == len(self.futures)
        return self.futures

    def run(self, function, *arguments, **options):
        return {"tcp://10.0.0.6:1": self.said.get(arguments[0]) or function(*arguments)}


def results_of(client):
    return list(ClusterExecutor(client).map(abs, range(len(client.futures))))


def test_slow_tasks_are_waited_for():
    """Results come in the order of the items, however often there is none yet, as long as there are workers."""
    slow = Future(*[TimeoutError()] * 5, "first")
    assert results_of(Client(slow, Future("second"))) == ["first", "second"]


def test_a_cluster_without_workers_is_left_after_a_while(monkeypatch):
    """Where no worker is left the fit ends when patience does, and says so; workers that come back in time go on."""
    monkeypatch.setattr(cluster, "PATIENCE_SECONDS", 0.05)
    with pytest.raises(CapacityError, match=r"at tcp://10.0.0.5:8786. It has been without workers"):
        results_of(Client(Future(TimeoutError()), workers=0))
    monkeypatch.setattr(cluster, "PATIENCE_SECONDS", 60.0)
    assert results_of(Client(Future(TimeoutError(), "back"), workers=0)) == ["back"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (lambda: distributed.KilledWorker("task", Client.scheduler, 3), "Workers died again and again"),
        (lambda: distributed.CancelledError("task"), "Its scheduler was lost"),
    ],
    ids=["killed", "cancelled"],
)
def test_failures_of_a_cluster_are_one_line(error, said):
    """Workers that die again and again and a lost scheduler are errors that say what to do."""
    with pytest.raises(CapacityError, match=said) as raised:
        results_of(Client(Future(error())))
    assert "\n" not in str(raised.value)


def test_errors_of_the_work_itself_pass():
    """What a task raises arrives as it is."""
    with pytest.raises(InputError, match="a block is cut short"):
        results_of(Client(Future(InputError("a block is cut short"))))


def test_workers_without_the_library_or_with_another_are_named():
    """A worker that cannot import rtmkc, or has another numpy, is named with what to install."""
    lacks = Client(said={cluster.__name__: ModuleNotFoundError("No module named 'rtmkc'")})
    with pytest.raises(InputError, match="cannot import rtmkc, such as tcp://10.0.0.6:1: No module named"):
        ClusterExecutor(lacks)
    with pytest.raises(InputError, match=r"tcp://10.0.0.6:1 has numpy 1.0 and this machine"):
        ClusterExecutor(Client(said={"numpy": "1.0"}))


def test_a_client_and_other_things_are_no_executors():
    """A client instead of its executor, or an address, is told what to give."""
    with pytest.raises(InputError, match="It is a client; give client.get_executor"):
        Compute(type("C", (), {"get_executor": None})())
    for thing in ("tcp://10.0.0.5:8786", 3):
        with pytest.raises(InputError, match="Give one of concurrent.futures"):
            Compute(thing)
    plain = type("E", (), {"map": map})()
    assert watched(plain) is plain


def test_a_port_that_answers_nothing_is_given_up(monkeypatch):
    """Something that accepts connections and is no scheduler is left after the time to connect."""
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        started = time.monotonic()
        with (
            pytest.raises(InputError, match="No Dask scheduler answers there"),
            workers_at(f"tcp://127.0.0.1:{mute.getsockname()[1]}"),
        ):
            pass
        assert time.monotonic() - started < 10


@pytest.mark.skipif(os.name == "nt", reason="no SIGTERM")
def test_a_terminated_command_leaves_nothing_behind(tmp_path):
    """SIGTERM in the middle of a run: one line, exit code 143, and no half-written folder."""
    command = [sys.executable, "-m", "rtmkc.cli", "demo", "-o", str(tmp_path / "out")]
    lines = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as run:
        assert run.stderr is not None
        for line in run.stderr:
            lines.append(line)
            if line.startswith("measuring factors"):
                run.send_signal(signal.SIGTERM)
    assert run.returncode == 143
    assert lines[-1] == "rtmkc: terminated\n"
    assert list(tmp_path.iterdir()) == []
