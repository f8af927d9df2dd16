"""Where tasks run: in this process, in several, or on a Dask cluster. The results are the same bit for bit.

A task is a plain picklable value and the function that carries it out is idempotent, so that an executor may run a task
again at any time. Linear algebra is held to one thread per process: more threads than cores costs a factor of up to 20.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from timelens.errors import MissingDependencyError, UsageError

__all__ = ["dask_cluster", "execute", "processes", "serial"]

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")
Executor = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[tuple[int, Any]]]

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


def execute(
    function: Callable[[Task], Outcome], tasks: Sequence[Task], *, jobs: int = 1, dask: str | None = None
) -> Iterator[tuple[int, Outcome | BaseException]]:
    """Carry out all tasks and give (number, outcome) as they end; a task that killed its process gives its error.

    Parameters
    ----------
    function
        A module-level function of one task that does not raise.
    tasks
        Plain values.
    jobs
        Processes on this machine; 1 runs in this one.
    dask
        Address of a Dask scheduler, which then takes all tasks.
    """
    if dask is not None:
        return dask_cluster(dask, function, tasks)
    if jobs > 1 and len(tasks) > 1:
        return processes(jobs, function, tasks)
    return serial(function, tasks)


def serial(function: Callable[[Task], Outcome], tasks: Sequence[Task]) -> Iterator[tuple[int, Outcome]]:
    """One task after the other in this process."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        for number, task in enumerate(tasks):
            yield number, function(task)


def processes(
    jobs: int, function: Callable[[Task], Outcome], tasks: Sequence[Task]
) -> Iterator[tuple[int, Outcome | BaseException]]:
    """Several processes. If one is killed, the unfinished tasks run again, each in a process of its own."""
    waiting = dict(enumerate(tasks))
    with _one_thread_each():
        try:
            with _pool(min(jobs, len(tasks))) as pool:
                running = {pool.submit(function, task): number for number, task in waiting.items()}
                for future in as_completed(running):
                    outcome = future.result()
                    number = running[future]
                    del waiting[number]
                    yield number, outcome
        except BrokenProcessPool:
            pass
        for number, task in sorted(waiting.items()):
            try:
                with _pool(1) as pool:
                    outcome = pool.submit(function, task).result()
            except BrokenProcessPool as error:
                yield number, error
            else:
                yield number, outcome


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Forking a process that has threads (numba, BLAS) can hang; a fresh interpreter cannot.
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))


class _one_thread_each:
    """Child processes read the number of threads from the environment when they load their libraries."""

    def __enter__(self) -> None:
        self.before = {name: os.environ.get(name) for name in _THREADS}
        os.environ.update(dict.fromkeys(_THREADS, "1"))

    def __exit__(self, *_: object) -> None:
        for name, value in self.before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def dask_cluster(
    address: str, function: Callable[[Task], Outcome], tasks: Sequence[Task]
) -> Iterator[tuple[int, Outcome | BaseException]]:
    """The workers of a Dask cluster, which must see the same files under the same paths."""
    try:
        from distributed import Client
        from distributed import as_completed as completed
    except ImportError:
        raise MissingDependencyError("distributed", purpose="Running on a Dask cluster", extra="cluster") from None
    try:
        connection = Client(address, timeout="10s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            "The Dask scheduler does not answer",
            field="--dask",
            found=f"{address}: {type(error).__name__}",
            expected="the address of a running scheduler, such as tcp://localhost:8786",
            mend="start it, or leave --dask out and use --jobs",
        ) from None
    with connection as client:
        running = {
            client.submit(function, task, pure=False, key=f"timelens-{os.getpid()}-{number}"): number
            for number, task in enumerate(tasks)
        }
        for future in completed(running, loop=client.loop):
            number = running[future]
            yield number, future.exception() if future.status == "error" else future.result()
            future.release()
