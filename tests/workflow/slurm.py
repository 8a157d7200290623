"""A real Slurm of one node, with GPUs that are none, for the tests and the simulation; nothing of it is left after."""

import fcntl
import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CONFIG = Path("/etc/slurm")  # the environment variable SLURM_CONF does not reach the srun inside a job
LOCK = Path(tempfile.gettempdir(), "ehap-slurm.lock")  # one at a time: the configuration lies in one place
MARK = "# Written by the tests of ehap, which delete it when they end."
PROGRAMS = ("slurmctld", "slurmd", "munged", "munge", "sbatch", "srun", "squeue", "scancel", "sinfo", "setpriv")
CONF = """{mark}
ClusterName=ehap
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/completed.txt
KillWait=10
GresTypes=gpu
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={cpus} \
ThreadsPerCore=1 RealMemory={memory_mb} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=gpu Nodes={host} Default=YES MaxTime=INFINITE DefMemPerCPU=500 State=UP
"""
# Runs a service as the parent of whatever its jobs leave behind, which nobody else might wait for.
REAPER = """
import ctypes, os, signal, subprocess, sys
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
service = subprocess.Popen(sys.argv[1:])
signal.signal(signal.SIGTERM, lambda *_: service.terminate())
while os.wait()[0] != service.pid:
    pass
"""


def missing() -> str:
    """Say why no Slurm can be started here; empty where one can."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"needs {', '.join(absent)}: apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "needs root, to start Slurm's services"
    conf = CONFIG / "slurm.conf"
    if conf.exists() and MARK not in conf.read_text():
        return f"needs a machine without a Slurm of its own, but there is {conf}"
    return ""


@contextmanager
def slurm(folder: Path, *, cpus: int, gpus: int = 2, memory_mb: int = 100_000) -> Iterator[Path]:
    """Run a Slurm whose files lie in ``folder``, one at a time on this machine, with the node that the caller claims.

    Its services end with the block, and also with this process, however that ends.
    """
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        host = socket.gethostname().split(".")[0]
        _configure(folder, host, cpus, gpus, memory_mb)
        services: list[subprocess.Popen[bytes]] = []
        try:
            services += _munge(folder)
            services.append(_service(folder, "slurmctld", "-D"))
            services.append(_service(folder, "slurmd", "-D", "-N", host))
            _wait_for(_node_is_up, lambda: _logs(folder))
            try:
                yield folder
            finally:
                _cancel_all()
        finally:
            for service in reversed(services):
                service.terminate()
                service.wait(30)
            for name in ("slurm.conf", "gres.conf"):
                (CONFIG / name).unlink()


def jobs_done(folder: Path) -> list[dict[str, str]]:
    """Return what Slurm says about every job that has ended: JobId, JobState, StartTime, EndTime and so on."""
    path = folder / "completed.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return [dict(re.findall(r"(\w+)=(.*?)(?= \w+=| *$)", line)) for line in lines]  # a folder's name may hold a space


def wait_until_idle() -> None:
    """Wait until no job is left."""
    _wait_for(lambda: not _said("squeue", "-h"), lambda: _said("squeue"))


def _configure(folder: Path, host: str, cpus: int, gpus: int, memory_mb: int) -> None:
    for name in ("state", "spool", "devices"):
        (folder / name).mkdir(parents=True)
    for number in range(gpus):  # any character devices will do: Slurm counts them and names them to jobs
        os.mknod(folder / f"devices/nvidia{number}", 0o020666, os.makedev(1, 3))
    CONFIG.mkdir(exist_ok=True)
    controller_port, node_port = _free_ports(2)
    values = {"cpus": cpus, "gpus": gpus, "memory_mb": memory_mb, "mark": MARK, "folder": folder, "host": host}
    ports = {"controller_port": controller_port, "node_port": node_port}
    (CONFIG / "slurm.conf").write_text(CONF.format(**values, **ports))
    devices = f"{folder}/devices/nvidia[0-{gpus - 1}]"
    (CONFIG / "gres.conf").write_text(f"{MARK}\nNodeName={host} Name=gpu File={devices} Flags=nvidia_gpu_env\n")


def _munge(folder: Path) -> list["subprocess.Popen[bytes]"]:
    """Start munged, unless one is running."""
    if _munge_answers():
        return []
    for path in ("/run/munge", "/var/log/munge", "/var/lib/munge"):
        subprocess.run(["install", "-d", "-o", "munge", "-g", "munge", "-m", "0755", path], check=True)
    service = _service(folder, "munged", "--foreground", "--force", user="munge")
    _wait_for(_munge_answers, lambda: _logs(folder))
    return [service]


def _munge_answers() -> bool:
    return subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0


def _service(folder: Path, program: str, *arguments: str, user: str = "") -> "subprocess.Popen[bytes]":
    who = [f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    reaper = [] if user else [sys.executable, "-c", REAPER]  # another user need not be able to read our Python
    with (folder / f"{program}.said.log").open("w") as said:
        return subprocess.Popen(
            ["setpriv", *who, "--pdeathsig=TERM", *reaper, program, *arguments],
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def _node_is_up() -> bool:
    return _said("sinfo", "-h", "-o", "%T") in ("idle", "mixed")


def _cancel_all() -> None:
    """End what is left, so that no job outlives its Slurm."""
    subprocess.run(["scancel", "--full", "--user", getpass.getuser()], check=False, capture_output=True)
    wait_until_idle()


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _wait_for(ready: Callable[[], bool], explain: Callable[[], str]) -> None:
    for _ in range(150):
        if ready():
            return
        time.sleep(0.2)
    raise RuntimeError(f"waited in vain:\n{explain()}")


def _logs(folder: Path) -> str:
    return "\n".join(f"{path}:\n{path.read_text()[-2000:]}" for path in sorted(folder.glob("*.log")))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
