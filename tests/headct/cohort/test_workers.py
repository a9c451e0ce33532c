"""Two workers, one of which dies, has no room on its disk, or loses the command that it works for."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
import time

import distributed.scheduler
import psutil
import pytest

from headct.cohort.phantoms import write_phantoms_on
from headct.cohort.tasks import Need, OnWorker, WorkersDied, gather, run_tasks
from headct.cohort.workers import Workers
from tools.core.errors import InputError

CLIENT = """
import sys
from pathlib import Path
import cohort_jobs
from headct.cohort.phantoms import write_phantoms_on
from headct.cohort.tasks import gather
from headct.cohort.workers import Workers
file, folder, text = sys.argv[1:]
tasks = [(name, (Path(folder, name), text)) for name in ("a", "b", "c")]
print(gather(cohort_jobs.train, tasks, Workers(scheduler_file=Path(file))))
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_worker_loses_nothing_and_a_deadly_case_is_named(cluster, tmp_path):
    from cohort_jobs import do, tries

    kinds = {"a": "deadly", "b": "", "c": "deadly once", "d": "broken", **dict.fromkeys("efghijkl", "")}
    tasks = [(f"case_{name}", (tmp_path, f"case_{name}", kind)) for name, kind in kinds.items()]
    outcomes = {outcome.name: outcome for outcome in run_tasks(do, tasks, cluster.workers)}
    assert list(sorted(outcomes)) == [name for name, _ in tasks]
    dead, broken = outcomes.pop("case_a"), outcomes.pop("case_d")
    assert isinstance(dead.error, WorkersDied)
    assert str(dead.error).startswith("case_a: expected a result, found that it ended its worker 3 times")
    assert tries(tmp_path, "case_a") == 3
    assert str(broken.error) == "Unsendable: case_d"
    assert isinstance(broken.error.__cause__, OnWorker)
    assert "a cause that pickle loses" in str(broken.error.__cause__)
    assert tries(tmp_path, "case_c") == 2
    for name, outcome in outcomes.items():
        assert outcome.result() == name
        assert tasks[outcome.number][0] == name
    assert sorted(path.name for path in tmp_path.glob("case_*")) == sorted(outcomes)


def test_the_others_are_done_before_a_deadly_case_is_said(cluster, tmp_path):
    from cohort_jobs import do

    tasks = [(name, (tmp_path, name, "deadly" if name == "a" else "")) for name in "abcd"]
    with pytest.raises(WorkersDied, match=r"^a: expected a result"):
        gather(do, tasks, cluster.workers)
    assert all((tmp_path / name).is_file() for name in "bcd")


def test_a_worker_whose_disk_is_full_is_left_out(empty_cluster, tmp_path):
    from cohort_jobs import do, tries

    empty_cluster.add(largest_file=50_000)
    out = tmp_path / "out"
    out.mkdir()
    tasks = [(f"case_{n}", (out, f"case_{n}", "")) for n in range(6)]
    with pytest.raises(OSError, match="File too large") as raised:
        gather(do, tasks[:1], empty_cluster.workers)
    assert raised.value.errno == errno.EFBIG
    empty_cluster.add()
    empty_cluster.wait_for_workers(2)
    assert gather(do, tasks, empty_cluster.workers) == [name for name, _ in tasks]
    assert sorted(path.name for path in out.glob("*")) == sorted(["begun", *dict(tasks)])
    assert {(out / name).stat().st_size for name, _ in tasks} == {100_000}
    assert sum(tries(out, name) for name, _ in tasks) <= 1 + 6 + 3  # it is not asked again and again


def test_a_task_waits_for_a_worker_of_its_own(cluster, tmp_path, wait):
    """Handed out earlier, it may stand behind a long one while another worker has nothing to do."""
    from cohort_jobs import train

    text = "\nwhile not os.path.exists('../go'): time.sleep(0.05)\npathlib.Path('result').write_text('done')"
    drawn: list[str] = []

    def tasks():
        for name in "abc":
            drawn.append(name)
            yield name, (tmp_path / name, text)

    results: list[str] = []
    thread = threading.Thread(
        target=lambda: results.extend(gather(train, tasks(), cluster.workers)), daemon=True
    )
    thread.start()
    wait(lambda: all((tmp_path / name / "pid").is_file() for name in "ab"))
    time.sleep(2)  # it looks for free workers every second
    assert drawn == ["a", "b"]
    (tmp_path / "go").touch()
    thread.join()
    assert results == ["done"] * 3


def test_tasks_that_may_use_a_gpu_go_where_there_is_one(empty_cluster, tmp_path):
    from cohort_jobs import do

    empty_cluster.add("--resources", "GPU=1")
    empty_cluster.add()
    empty_cluster.wait_for_workers(2)
    tasks = [(f"case_{n}", (tmp_path, f"case_{n}", "")) for n in range(6)]
    assert gather(do, tasks, empty_cluster.workers, Need(gpus=1)) == [name for name, _ in tasks]
    assert len({line.split()[1] for line in (tmp_path / "begun").read_text().splitlines()}) == 1
    with pytest.raises(InputError, match=r"expected a worker with 2 GPUs .*, found 1 at most"):
        gather(do, tasks, empty_cluster.workers, Need(gpus=2))


def test_what_runs_ends_with_its_command_also_when_that_is_killed(cluster, tmp_path, wait):
    """`kill -9` of the command: the programs on the workers end; the same command goes on."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "result").write_text("done before")
    text = "import sys; os.path.exists('result') and sys.exit(); time.sleep(600)"
    command = [sys.executable, "-c", CLIENT, str(cluster.file), str(tmp_path), text]
    pids = [tmp_path / name / "pid" for name in ("b", "c")]
    with subprocess.Popen(command) as client:
        try:
            wait(lambda: all(pid.is_file() and pid.read_text() for pid in pids))
            numbers = [int(pid.read_text()) for pid in pids]
            assert all(map(alive, numbers))
        finally:
            client.kill()
    wait(lambda: not any(map(alive, numbers)), 60)
    text = "pathlib.Path('result').write_text('now')"
    command = [*command[:-1], text.replace("'now'", "'now' if not os.path.exists('result') else 'twice'")]
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.stdout.strip() == "['twice', 'now', 'now']", again.stderr


def test_the_program_of_a_killed_worker_ends_and_runs_elsewhere(cluster, tmp_path, wait):
    """It is slow to end: meanwhile no other runs in its folder."""
    from cohort_jobs import train

    (tmp_path / "fold").mkdir()
    slow = (
        "import signal; first = not os.path.exists('first'); open('first', 'w'); signal.signal("
        "signal.SIGTERM, lambda *_: (time.sleep(1), open('ended', 'w'), os._exit(0))); "
        "first and time.sleep(600); pathlib.Path('result').write_text(str(os.path.exists('ended')))"
    )

    def kill() -> None:
        wait((tmp_path / "fold" / "pid").is_file)
        wait((tmp_path / "fold" / "first").is_file)
        time.sleep(0.3)
        program = psutil.Process(int((tmp_path / "fold" / "pid").read_text()))
        program.parent().parent().kill()

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    assert gather(train, [("fold", (tmp_path / "fold", slow))], cluster.workers) == ["True"]
    thread.join()


def test_a_stopped_command_takes_what_runs_on_its_own_processes_with_it(tmp_path, wait):
    """Ctrl-C goes to every process of a terminal."""
    command = [sys.executable, "-c", CLIENT.replace("scheduler_file=Path(file)", "2"), "", str(tmp_path)]
    pids = [tmp_path / name / "pid" for name in ("a", "b")]
    with subprocess.Popen(
        [*command, "time.sleep(600)"],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background process ignores it
    ) as client:
        try:
            wait(lambda: all(pid.is_file() and pid.read_text() for pid in pids))
            numbers = [int(pid.read_text()) for pid in pids]
        finally:
            os.killpg(client.pid, signal.SIGINT)
        message = client.stderr.read()
    assert message.splitlines()[-1] == "KeyboardInterrupt"
    assert "distributed" not in message.split("KeyboardInterrupt")[-1]
    wait(lambda: not any(map(alive, numbers)), 60)
    assert not (tmp_path / "c").exists()


def test_a_worker_that_dies_with_its_result_is_not_waited_for(tmp_path, monkeypatch):
    """Killed between the scheduler's knowing where the result lies and its asking there."""
    from cohort_jobs import process

    gather_from_workers = distributed.scheduler.gather_from_workers
    killed = []

    async def late(who_has, **options):
        if who_has and not killed:
            (address, *_), *_ = who_has.values()
            killed.append(int((tmp_path / address.rpartition(":")[2]).read_text()))
            os.kill(killed[0], signal.SIGKILL)
            await asyncio.sleep(0.5)
        return await gather_from_workers(who_has, **options)

    monkeypatch.setattr(distributed.scheduler, "gather_from_workers", late)
    start = time.monotonic()
    found = gather(process, [(name, tmp_path) for name in "ab"], Workers(2))
    assert killed
    assert killed[0] not in found
    assert time.monotonic() - start < 20


def test_one_process_needs_no_dask(tmp_path):
    program = (
        "import sys; from headct.cohort.tasks import gather; from headct.cohort.workers import Workers\n"
        "tasks = [('a', 'x'), ('b', 'xx')]\n"
        "print(gather(len, tasks, Workers(1)), gather(len, tasks[:1], Workers(4)))\n"
        "print({'dask', 'distributed', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[1, 2] [1]\nset()\n"


def test_no_scheduler_and_no_dask_are_said_in_one_line(tmp_path, monkeypatch):
    tasks = [("a", "x"), ("b", "y")]
    monkeypatch.setattr("headct.cohort.client.CONNECT", "1 s")
    with pytest.raises(InputError, match=r"^tcp://127.0.0.1:9: expected a Dask scheduler, found none"):
        gather(len, tasks, Workers(scheduler="tcp://127.0.0.1:9"))
    with pytest.raises(InputError, match=r"expected the file of a Dask scheduler, found nothing there"):
        Workers(scheduler_file=tmp_path / "scheduler.json")
    with pytest.raises(InputError, match=r"^jobs, scheduler: expected one of them, found 2"):
        Workers(2, "tcp://127.0.0.1:9")
    monkeypatch.delitem(sys.modules, "headct.cohort.client")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"^running on several workers needs the package distributed"):
        gather(len, tasks, Workers(2))


def test_synthetic_heads_are_the_same_bytes_as_of_one_process(cluster, tmp_path):
    sizes = {"shape": (32, 32, 10), "spacing": (7.0, 7.0, 16.0)}
    for name, workers in (("one", Workers()), ("two", cluster.workers)):
        write_phantoms_on(workers, tmp_path / name, cases=3, test_cases=1, folds=2, **sizes)
    one, two = ({p.relative_to(tmp_path / n): p for p in (tmp_path / n).rglob("*.*")} for n in ("one", "two"))
    assert len(one) == 4 * 6 + 1
    assert {path: file.read_bytes() for path, file in one.items()} == {
        path: file.read_bytes() for path, file in two.items()
    }
