"""What a lab server is configured with. Pure text: nothing here touches the machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from accountdb.errors import UsageError
from accountdb.lab.model import ADMIN_ROLE, HOST, REGIONS, Mode

LOG_FOLDER = "log"
LOG_NAME = "postgresql.log"

# Without these the lab would not find its own server or log, or would let others in.
_FIXED = {
    "config_file",
    "data_directory",
    "hba_file",
    "listen_addresses",
    "log_destination",
    "log_directory",
    "log_filename",
    "logging_collector",
    "port",
    "unix_socket_directories",
}

_ALL_MODES = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "100",
    "max_prepared_transactions": "10",
    "password_encryption": "scram-sha-256",
    # Replication.
    "wal_level": "logical",
    "max_replication_slots": "10",
    "max_wal_senders": "10",
    "max_worker_processes": "16",
    "track_commit_timestamp": "on",
    "wal_retrieve_retry_interval": "500ms",
    # The data is thrown away: durability would only cost time.
    "fsync": "off",
    "full_page_writes": "off",
    "jit": "off",
    "shared_buffers": "128MB",
    # Dynamic shared memory as files in the data folder: it goes with the folder even after every
    # process was killed, and a container's small /dev/shm does not limit it.
    "dynamic_shared_memory_type": "mmap",
    # One log file that tests can read from start to end.
    "logging_collector": "on",
    "log_destination": "stderr",
    "log_directory": LOG_FOLDER,
    "log_filename": LOG_NAME,
    "log_rotation_age": "0",
    "log_rotation_size": "0",
    "log_file_mode": "0600",
    "log_line_prefix": "%m [%p] %b %q%u@%d/%a ",
    "lc_messages": "C",
}

# What each server of a mesh needs: a slot, a sender and a worker for each of up to four others, and
# origins and sessions for a merge that writes over several connections to each.
_MESH = {
    "max_connections": "200",
    "max_replication_slots": "40",
    "max_wal_senders": "20",
    "max_worker_processes": "32",
    "max_logical_replication_workers": "16",
}

_PGLOGICAL = {
    "shared_preload_libraries": "pglogical",
    "pglogical.conflict_resolution": "apply_remote",
}

# PostgreSQL says in a LOG line before the FATAL one what was wrong with the port or the settings.
_CAUSE = r"could not bind|configuration parameter|invalid value for parameter|in file .* line \d"

# Both lines name the same addresses: "all" does not include replication connections.
HBA = f"host all all {HOST}/32 scram-sha-256\nhost replication all {HOST}/32 scram-sha-256\n"


def checked(extra: Mapping[str, str]) -> dict[str, str]:
    """The caller's own settings. Raises UsageError for a name that is none or that the lab needs itself."""
    for name, value in extra.items():
        if not re.fullmatch(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?", name):
            raise UsageError(f"lab setting {name!r} is not a setting's name")
        if name in _FIXED:
            raise UsageError(f"lab setting {name} is fixed: the lab itself depends on it")
        if "\n" in value or "\0" in value:
            raise UsageError(f"lab setting {name} has a value of more than one line")
    return dict(extra)


def settings(mode: Mode, port: int, extra: Mapping[str, str], regions: int = len(REGIONS)) -> dict[str, str]:
    """All settings of one server of a lab of so many ``regions``; ``extra`` wins."""
    own = _PGLOGICAL if mode == "pglogical" else {}
    mesh = _MESH if regions > len(REGIONS) else {}
    return {**_ALL_MODES, **mesh, **own, **extra, "port": str(port)}


def as_conf(values: Mapping[str, str]) -> str:
    """The settings as lines of postgresql.conf."""
    quoted = {name: value.replace("\\", "\\\\").replace("'", "''") for name, value in values.items()}
    return "".join(f"{name} = '{value}'\n" for name, value in quoted.items())


def initdb_command(bin_dir: Path, major: int, data_dir: Path, password_file: Path) -> list[str]:
    """The command that makes a new cluster."""
    # libc locales, because the embedded server is built without ICU; the option is known from 15 on.
    provider = ["--locale-provider=libc"] if major >= 15 else []
    return [
        str(bin_dir / "initdb"),
        *provider,
        "--locale=C.UTF-8",
        "--encoding=UTF8",
        f"--username={ADMIN_ROLE}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--no-sync",
        "-D",
        str(data_dir),
    ]


def failure_reason(said: str) -> str:
    """Why a server or initdb gave up, from what it logged: one line, the fact first."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for word in ("PANIC:", "FATAL:", "initdb: error:", "ERROR:"):
        found = [index for index, line in enumerate(lines) if word in line]
        if found:
            last = found[-1]
            facts = [lines[last].split(word, 1)[1].strip()]
            causes = [line for line in lines[:last] if re.search(_CAUSE, line)]
            facts += [line.split(":  ", 1)[-1] for line in causes[-1:]]
            details = lines[last + 1 : last + 3]
            facts += [line.split(":", 1)[1].strip() for line in details if re.search(r"\b(DETAIL|HINT):", line)][:1]
            return "; ".join(facts)
    return lines[-1] if lines else "it said nothing"


def is_port_collision(said: str) -> bool:
    """Whether the server gave up because another process has its port."""
    return "could not bind" in said and "Address already in use" in said
