"""Work in processes of its own: peak memory of one thing alone, and several trainings at the same time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

from ehap.errors import EhapError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
WARM, GO = "warm", "go"


def alone(work: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
    """Return the result of work in a new process.

    Memory that a process has freed is not counted when it is used again: a new one has freed none.

    Args:
        work: A function of a module, as multiprocessing can send it.
        args: Its arguments.
        kwargs: Its arguments by name.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
        return fresh.submit(work, *args, **kwargs).result()


def together(work: Callable[..., float], each: Sequence[tuple[Any, ...]]) -> list[float]:
    """Return the results of the same work in several processes; all begin to measure at once.

    Args:
        work: A function of a module. Its last argument is a function that it calls when it is warm, and that returns
            when all are.
        each: The other arguments, a process each.

    Raises:
        EhapError: A process ended before it was warm, or before it had a result.
    """
    context = get_context("spawn")
    pipes = [context.Pipe() for _ in each]
    jobs = [
        context.Process(target=_worker, args=(theirs, work, arguments))
        for (_, theirs), arguments in zip(pipes, each, strict=True)
    ]
    try:
        for job, (_, theirs) in zip(jobs, pipes, strict=True):
            job.start()
            theirs.close()  # else the end of the process would not end the pipe
        for ours, _ in pipes:
            ours.recv()
        for ours, _ in pipes:
            ours.send(GO)
        return [ours.recv() for ours, _ in pipes]
    except EOFError:
        raise EhapError("a process ended before it had a result; its message stands above.") from None
    finally:
        for job in jobs:
            job.kill()
            job.join()


def _worker(pipe: Connection, work: Callable[..., float], arguments: tuple[Any, ...]) -> None:
    def warm() -> None:
        pipe.send(WARM)
        pipe.recv()

    pipe.send(work(*arguments, warm))
