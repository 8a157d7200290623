"""A run shared through real remotes: an SSH server and an S3 API, both on loopback and gone after the test."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.workflow.conftest import DVC, planned, run_in
from tests.workflow.shared import cloned, pulled, purge, pushed

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
@pytest.mark.services
def test_a_run_is_shared_by_ssh(sshd: tuple[int, Path], origin: Path, tmp_path: Path) -> None:
    port, key = sshd
    url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{tmp_path}/remote"
    _share(origin, tmp_path, url, {"keyfile": str(key)}, lambda: purge(tmp_path / "remote"))


@pytest.mark.services
def test_a_run_is_shared_by_s3(origin: Path, tmp_path: Path) -> None:
    server = ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        own = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}
        client = boto3.client("s3", aws_access_key_id="x", aws_secret_access_key="y", **own)
        client.create_bucket(Bucket="ehap")
        options = {"endpointurl": own["endpoint_url"], "region": own["region_name"]}

        def purge_bucket() -> None:
            names = [item["Key"] for item in client.list_objects_v2(Bucket="ehap")["Contents"]]
            assert all(name.startswith("dvc/files/md5/") for name in names)
            for name in names[::2]:
                if not name.endswith(".dir"):
                    client.delete_object(Bucket="ehap", Key=name)

        keys = {"access_key_id": "x", "secret_access_key": "y"}
        _share(origin, tmp_path, "s3://ehap/dvc", options | keys, purge_bucket)
    finally:
        server.stop()


def _share(origin: Path, folder: Path, url: str, options: dict[str, str], purge: Callable[[], None]) -> None:
    """Push from one clone and pull into another; then nothing is to do.

    Then objects are purged from the remote, whose lists stay: DVC takes the rest for pushed. Push again, from the clone
    that has pushed them and from the one that never did; then a third can pull.
    """
    here, there, last = (cloned(origin, folder / name) for name in ("here", "there", "last"))
    for clone in (here, there, last):
        run_in(clone, *DVC, "remote", "add", "elsewhere", url)
        run_in(clone, *DVC, "remote", "modify", "elsewhere", "verify", "true")
        for option, value in options.items():
            run_in(clone, *DVC, "remote", "modify", "--local", "elsewhere", option, value)
    pulled(here, "REMOTE=shared")
    assert "that the remote did not have" not in pushed(here, "REMOTE=elsewhere")
    pulled(there, "REMOTE=elsewhere")
    assert planned(there) == {}
    for clone in (here, there):
        purge()
        assert "that the remote did not have; now it has" in pushed(clone, "REMOTE=elsewhere")
    pulled(last, "REMOTE=elsewhere")
    assert planned(last) == {}


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(100):
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.1)
    raise AssertionError("sshd did not come up")
