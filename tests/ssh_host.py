"""An sshd on loopback, reached as a host called `device`."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Host:
    """A machine called `device` that ssh reaches: this one.

    Attributes:
        place: What `--on` takes.
        folders: Where its temporary folders are made.
    """

    place: str
    folders: Path

    def left(self) -> list[Path]:
        """Folders that were made there and not removed."""
        return [path for path in self.folders.iterdir() if path.is_dir()]


def client(folder: Path, port: int) -> Path:
    """A folder with `ssh` and `scp` that know a host called `device`."""
    config = folder / "ssh_config"
    config.write_text(
        f"Host device\n  HostName 127.0.0.1\n  Port {port}\n  User {getuser()}\n"
        f"  IdentityFile {folder / 'key'}\n  IdentitiesOnly yes\n  BatchMode yes\n"
        f"  StrictHostKeyChecking no\n  UserKnownHostsFile {folder / 'known_hosts'}\n"
        "  LogLevel ERROR\n"
    )
    programs = folder / "programs"
    programs.mkdir()
    for name in ("ssh", "scp"):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {shutil.which(name)} -F {config} "$@"\n')
        program.chmod(0o755)
    return programs


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Run an sshd: the folder of its clients, and where it makes temporary folders."""
    temporary = folder / "tmp"
    temporary.mkdir()
    port = free_port()
    for name in ("host_key", "key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
        )
    shutil.copyfile(folder / "key.pub", folder / "authorized_keys")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder / 'host_key'}\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\n"
        f"PidFile none\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        f"Subsystem sftp internal-sftp\nSetEnv TMPDIR={temporary} HOME={folder}\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd as root insists on it
    server = subprocess.Popen(
        [str(SSHD), "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.PIPE
    )
    try:
        for _ in range(100):
            if server.poll() is not None:
                pytest.skip(f"sshd does not start here: {server.communicate()[1].decode()[-200:]}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield client(folder, port), temporary
    finally:
        server.terminate()
        server.communicate()
