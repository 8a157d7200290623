"""A run shared through real remotes: an SSH server and an S3 API, both on loopback and gone after the test."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.workflow.conftest import DVC, GIT, planned, restored_in, run_in

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"  # which refuses to start by a relative name


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A server that knows one key: its port, and the file of the key."""
    folder = tmp_path / "sshd"
    folder.mkdir()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    port = free_port()
    options = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": folder / "pid",
        "StrictModes": "no",  # the key lies in a temporary folder
        "UsePAM": "no",
        "Subsystem": "sftp internal-sftp",
    }
    (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.PIPE)
    try:
        _wait_for(port, process)
        yield port, folder / "user"
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.skipif(not Path(SSHD).exists(), reason="needs sshd, of the package openssh-server")
def test_a_run_is_shared_by_ssh(sshd: tuple[int, Path], origin: Path, tmp_path: Path) -> None:
    port, key = sshd
    url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{tmp_path}/remote"
    _share(origin, tmp_path, url, {"keyfile": str(key)})
    assert list((tmp_path / "remote").rglob("*.dir"))  # it has really gone there


def test_a_run_is_shared_by_s3(origin: Path, tmp_path: Path) -> None:
    server = ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        own = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}
        client = boto3.client("s3", aws_access_key_id="x", aws_secret_access_key="y", **own)
        client.create_bucket(Bucket="ehap")
        options = {"endpointurl": own["endpoint_url"], "region": own["region_name"]}
        _share(origin, tmp_path, "s3://ehap/dvc", {**options, "access_key_id": "x", "secret_access_key": "y"})
        names = [item["Key"] for item in client.list_objects_v2(Bucket="ehap")["Contents"]]
        assert all(name.startswith("dvc/files/md5/") for name in names)
    finally:
        server.stop()


def _share(origin: Path, folder: Path, url: str, options: dict[str, str]) -> None:
    """Push from one clone and pull into another, as ``make push`` and ``make pull`` do; then nothing is to do."""
    for name in ("here", "there"):
        clone = folder / name
        run_in(folder, *GIT, "clone", "--quiet", str(origin), str(clone))
        run_in(clone, *DVC, "remote", "add", "elsewhere", url)
        run_in(clone, *DVC, "remote", "modify", "elsewhere", "verify", "true")
        for option, value in options.items():
            run_in(clone, *DVC, "remote", "modify", "--local", "elsewhere", option, value)
    here, there = folder / "here", folder / "there"
    run_in(here, *DVC, "remote", "modify", "--local", "shared", "url", str(origin.parent / "remote"))
    run_in(here, *DVC, "pull", "--quiet", "--remote", "shared")
    assert restored_in(here).returncode == 0
    run_in(here, sys.executable, "-m", "ehap.workflow", "pack")
    run_in(here, *DVC, "commit", "--force", "--quiet", "run@small")
    run_in(here, *DVC, "push", "--quiet", "--remote", "elsewhere", "run@small")
    run_in(there, *DVC, "pull", "--quiet", "--remote", "elsewhere", "run@small")
    assert restored_in(there).returncode == 0
    assert planned(there) == {}


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(100):
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.1)
    raise AssertionError("sshd did not come up")
