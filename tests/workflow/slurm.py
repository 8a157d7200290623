"""A real Slurm of one node with two GPUs that are none, started for the tests and stopped after them."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONFIG = Path("/etc/slurm")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scancel", "sinfo")
CONF = """
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
SlurmctldPort={controller}
SlurmdPort={node}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
KillWait=10
SchedulerParameters=sched_interval=1,bf_interval=2
GresTypes=gpu
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={cpus} \
ThreadsPerCore=1 RealMemory={memory} Gres=gpu:2 State=UNKNOWN
PartitionName=gpu Nodes={host} Default=YES MaxTime=INFINITE DefMemPerCPU=500 State=UP
"""


def installed() -> bool:
    """Return whether a Slurm can be started here: its programs are there, we are root, and no other one is set up."""
    return all(map(shutil.which, PROGRAMS)) and os.geteuid() == 0 and not (CONFIG / "slurm.conf").exists()


@contextmanager
def slurm(folder: Path) -> Iterator[Path]:
    """Run a Slurm whose files lie in ``folder``."""
    for name in ("state", "spool", "devices"):
        (folder / name).mkdir(parents=True)
    host = socket.gethostname().split(".")[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    cpus = len(os.sched_getaffinity(0))
    ports = dict(zip(("controller", "node"), _free_ports(2), strict=True))
    for number in (0, 1):  # any character device will do: Slurm counts them and names them to jobs
        os.mknod(folder / f"devices/nvidia{number}", 0o666 | 0o020000, os.makedev(1, 3 + 2 * number))
    CONFIG.mkdir(exist_ok=True)
    configuration = CONF.format(folder=folder, host=host, cpus=cpus, memory=int(0.9 * memory), **ports)
    gres = f"NodeName={host} Name=gpu File={folder}/devices/nvidia[0-1] Flags=nvidia_gpu_env\n"
    (CONFIG / "slurm.conf").write_text(configuration)
    (CONFIG / "gres.conf").write_text(gres)
    started: list[subprocess.Popen[bytes]] = []
    try:
        if not Path("/run/munge/munge.socket.2").exists():
            for path in ("/run/munge", "/var/log/munge", "/var/lib/munge"):
                subprocess.run(["install", "-d", "-o", "munge", "-g", "munge", "-m", "0755", path], check=True)
            command = ["runuser", "-u", "munge", "--", shutil.which("munged") or "munged", "--foreground"]
            started.append(subprocess.Popen(command, start_new_session=True))
        for command in (["slurmctld", "-D"], ["slurmd", "-D", "-N", host]):
            started.append(subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL))
        _wait_for_node(folder)
        yield folder
    finally:
        subprocess.run(["scancel", "--full", "--user", "root"], check=False, capture_output=True)
        time.sleep(1)
        for process in reversed(started):
            os.killpg(process.pid, signal.SIGTERM)
        for process in started:
            process.wait(30)
        for name in ("slurm.conf", "gres.conf"):
            (CONFIG / name).unlink()


def _wait_for_node(folder: Path) -> None:
    for _ in range(150):
        done = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False)
        if done.stdout.strip() in ("idle", "mixed"):
            return
        time.sleep(0.2)
    logs = "\n".join(path.read_text()[-2000:] for path in sorted(folder.glob("*.log")))
    raise RuntimeError(f"Slurm's node did not come up:\n{logs}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
