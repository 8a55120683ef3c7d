"""A real Slurm of three nodes on one machine: a GPU node with fake GPUs, and two CPU nodes.

Needs root and Debian's slurmctld, slurmd, slurm-client and munge. There is no systemd, no cgroups and no accounting.
slurmd is told its node's name (-N) and each has a port of its own, which Debian builds it for.
"""

import itertools
import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
from projects import PATIENCE_S

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "srun")
HOW_TO_GET = "apt-get install slurmctld slurmd slurm-client munge"
#: Where Slurm looks without SLURM_CONF, which a job step of Snakemake's Slurm executor does not have.
SYSTEM_CONF = Path("/etc/slurm/slurm.conf")
NODES = ("gpu1", "cpu1", "cpu2")

CONF = """\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0,bf_interval=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
MinJobAge=3600
KillWait=5
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdSpoolDir={folder}/spool/%n
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmdLogFile={folder}/log/slurmd-%n.log
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
{nodes}
PartitionName=cpu Nodes=cpu1,cpu2 LLN=YES Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes=cpu1,cpu2 MaxTime=60 State=UP
PartitionName=gpu Nodes=gpu1 MaxTime=INFINITE PriorityTier=1 State=UP
PartitionName=urgent Nodes=gpu1 MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF State=UP
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=64 Boards=1 SocketsPerBoard=1 "
    "CoresPerSocket=64 ThreadsPerCore=1 RealMemory=512000{gres} State=UNKNOWN"
)


def missing() -> str | None:
    """Why no cluster can be started here, or None."""
    paths = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    absent = [program for program in PROGRAMS if shutil.which(program, path=paths) is None]
    if absent:
        return f"Slurm's programs are missing ({', '.join(absent)}); as root: {HOW_TO_GET}"
    if os.geteuid() != 0:
        return "a Slurm cluster for tests can only be started by root"
    if SYSTEM_CONF.exists() and not _is_left_behind():
        return f"{SYSTEM_CONF} is there: this machine belongs to a cluster, which tests must not touch"
    return None


class Cluster:
    """The cluster, with its state in one folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.conf = folder / "slurm.conf"

    def start(self) -> None:
        for name in ("state", "log", "run", "munge", *(f"spool/{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name in ("run", "munge"):
            (self.folder / name).chmod(0o700)
        controller_port, *ports = _free_ports(1 + len(NODES))
        host = socket.gethostname().partition(".")[0]
        nodes = [
            NODE.format(name=name, host=host, port=port, gres=" Gres=gpu:2" if name == "gpu1" else "")
            for name, port in zip(NODES, ports, strict=True)
        ]
        self.conf.write_text(
            CONF.format(folder=self.folder, host=host, controller_port=controller_port, nodes="\n".join(nodes))
        )
        gpus = [f"NodeName=gpu1 Name=gpu File={device}" for device in ("/dev/null", "/dev/zero")]
        (self.folder / "gres.conf").write_text("\n".join(gpus) + "\n")
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
        SYSTEM_CONF.parent.mkdir(exist_ok=True)
        if _is_left_behind():
            SYSTEM_CONF.unlink()
        SYSTEM_CONF.symlink_to(self.conf)
        self._start_munge()
        self.start_controller()
        for node in NODES:
            self._daemon("slurmd", "-f", str(self.conf), "-N", node)
        self.wait_for(lambda: self.node_states().count("idle") == len(NODES))

    def start_controller(self) -> None:
        self._daemon("slurmctld", "-f", str(self.conf))

    def stop_controller(self) -> None:
        """Stop the controller; jobs keep running."""
        _end([_read_pid(self.folder / "run" / "slurmctld.pid")])

    def stop(self) -> None:
        """Cancel all jobs, then end the daemons; job steps would outlive their slurmd."""
        with suppress(subprocess.SubprocessError, AssertionError):
            self.cancel_all()
        names = (*(f"slurmd-{node}" for node in NODES), "slurmctld", "munged")
        _end([pid for name in names if (pid := _read_pid(self.folder / "run" / f"{name}.pid"))])
        if SYSTEM_CONF.is_symlink() and SYSTEM_CONF.readlink() == self.conf:
            SYSTEM_CONF.unlink()

    def command(self, *argv: str) -> str:
        environment = {**os.environ, "SLURM_CONF": str(self.conf)}
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout

    def jobs(self, states: str = "pending,running,completing,configuring,suspended") -> list[dict[str, str]]:
        """Jobs in the queue: number, name, state, reason, nodes, comment."""
        keys = ("number", "name", "state", "reason", "nodes", "comment")
        rows = self.command("squeue", "--noheader", f"--states={states}", "--format=%i|%j|%T|%r|%N|%k").splitlines()
        return [dict(zip(keys, row.split("|"), strict=True)) for row in rows]

    def unended(self) -> list[dict[str, str]]:
        """Jobs that neither have ended nor are ending: a job that was cancelled takes a moment to leave its node."""
        return self.jobs("pending,running,configuring,suspended")

    def servers(self) -> list[dict[str, str]]:
        return [job for job in self.jobs() if "-server-" in job["name"]]

    def clients(self) -> list[dict[str, str]]:
        return [job for job in self.jobs() if "-server-" not in job["name"]]

    def describe(self, number: str) -> dict[str, str]:
        """The fields of a job in scontrol's output."""
        words = self.command("scontrol", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def node_states(self) -> list[str]:
        return self.command("sinfo", "--Node", "--noheader", "--partition=cpu,gpu", "--format=%t").split()

    def resume(self, node: str) -> bool:
        """Resume a node that is down; False while Slurm still shows it as down."""
        with suppress(subprocess.CalledProcessError):
            self.command("scontrol", "update", f"NodeName={node}", "State=RESUME")
        return "down" not in self.command("sinfo", "--noheader", f"--nodes={node}", "--format=%t")

    def cancel_all(self) -> None:
        if numbers := [job["number"] for job in self.jobs()]:
            self.command("scancel", *numbers)
        self.wait_for(lambda: not self.jobs())

    def wait_for(self, condition, seconds: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds} s in vain; jobs: {self.jobs()}"
            time.sleep(0.1)

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        key = folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        self._daemon(
            "munged",
            "--force",
            f"--key-file={key}",
            f"--socket={folder / 'munge.socket'}",
            f"--pid-file={self.folder / 'run' / 'munged.pid'}",
            f"--log-file={self.folder / 'log' / 'munged.log'}",
            f"--seed-file={folder / 'munge.seed'}",
        )
        self.wait_for(lambda: (folder / "munge.socket").exists())

    def _daemon(self, program: str, *arguments: str) -> None:
        path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        environment = {**os.environ, "SLURM_CONF": str(self.conf)}
        subprocess.run([path, *arguments], env=environment, check=True, timeout=60, stdout=subprocess.DEVNULL)


def _is_left_behind() -> bool:
    """Whether the system's configuration is a link of these tests, which were killed before they could remove it."""
    if not SYSTEM_CONF.is_symlink() or not SYSTEM_CONF.readlink().parent.name.startswith("slurm"):
        return False
    pid = _read_pid(SYSTEM_CONF.readlink().parent / "run" / "slurmctld.pid")
    return pid is None or not psutil.pid_exists(pid)


def _read_pid(file: Path) -> int | None:
    with suppress(FileNotFoundError, ValueError):
        return int(file.read_text())
    return None


def _end(pids: list[int]) -> None:
    """End processes that are not our children: SIGTERM, then SIGKILL after ten seconds."""
    processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    for process in processes:
        process.terminate()
    _, left = psutil.wait_procs(processes, timeout=10)
    for process in left:
        process.kill()


def _free_ports(count: int) -> list[int]:
    """Ports that no program is given by the kernel meanwhile: a controller that starts again needs its own."""
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    return list(itertools.islice(filter(_is_free, range(first_given - 1, 1023, -1)), count))


def _is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server(("", port)):
        return True
    return False
