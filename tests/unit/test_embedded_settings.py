"""What the embedded server is tuned to, for machines of all sizes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from vecstore.embedded import settings
from vecstore.embedded.settings import GB, MB, Setting
from vecstore.errors import InvalidArgument


def values(memory=16 * GB, cpus=8, shm=8 * GB, major=18):
    return {setting.name: setting.value for setting in settings.tuned(memory, cpus, shm, major)}


@pytest.mark.parametrize(
    ("memory", "shared_buffers", "maintenance_work_mem"),
    [
        (256 * MB, "128MB", "64MB"),
        (4 * GB, "1024MB", "256MB"),
        (16 * GB, "4096MB", "1024MB"),
        (512 * GB, "8192MB", "2048MB"),
    ],
)
def test_memory_settings_follow_the_memory_between_a_floor_and_a_ceiling(memory, shared_buffers, maintenance_work_mem):
    found = values(memory=memory)
    assert (found["shared_buffers"], found["maintenance_work_mem"]) == (shared_buffers, maintenance_work_mem)


@pytest.mark.parametrize(("cpus", "builders", "pool"), [(1, "0", "8"), (2, "1", "8"), (8, "7", "12"), (96, "7", "68")])
def test_index_builds_use_every_processor_and_leave_workers_over(cpus, builders, pool):
    found = values(cpus=cpus)
    assert (found["max_parallel_maintenance_workers"], found["max_worker_processes"]) == (builders, pool)


@pytest.mark.parametrize(("shm", "expected"), [(64 * MB, "mmap"), (8 * GB, None), (None, None)])
def test_parallel_builds_avoid_a_small_dev_shm(shm, expected):
    assert values(shm=shm).get("dynamic_shared_memory_type") == expected


def test_a_setting_that_a_version_does_not_know_is_not_given_to_it():
    assert "io_workers" in values(major=18)
    assert "io_workers" not in values(major=16)


def test_durability_is_never_traded_and_nothing_is_set_twice():
    tuned = settings.tuned(16 * GB, 8, 64 * MB, 18)
    names = [setting.name for setting in tuned]
    assert len(names) == len(set(names))
    assert not {"fsync", "full_page_writes", "synchronous_commit"} & set(names)
    assert all(setting.reason for setting in tuned)
    with pytest.raises(dataclasses.FrozenInstanceError):
        tuned[0].value = "no"


def test_a_value_is_quoted_for_the_configuration_file():
    text = settings.rendered([Setting("search_path", r"it's, a\b", "why")])
    assert "\n# why\nsearch_path = 'it''s, a\\\\b'\n" in text


@pytest.mark.parametrize("wanted", [{"a b": "1"}, {"": "1"}, {"fsync": "on\nport = 1"}, {"fsync": 1}, {"a.b.c": "1"}])
def test_a_setting_that_is_no_line_of_a_configuration_file_is_refused(wanted):
    with pytest.raises(InvalidArgument):
        settings.asked(wanted)


def test_a_setting_of_an_extension_is_accepted():
    assert settings.asked({"hnsw.ef_search": "100"})[0].name == "hnsw.ef_search"


def machine(tmp_path: Path, memberships: str, limits: dict[str, str]) -> int:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(memberships)
    for name, limit in limits.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(f"{limit}\n")
    return settings.memory_bytes(tmp_path / "proc", tmp_path / "cgroup")


def test_the_limit_of_a_group_above_counts_with_cgroups_of_version_2(tmp_path):
    limits = {"memory.max": "max", "a/memory.max": str(64 * MB), "a/b/memory.max": "max"}
    assert machine(tmp_path, "0::/a/b\n", limits) == 64 * MB


def test_the_limit_counts_with_cgroups_of_version_1_seen_from_inside_a_container(tmp_path):
    limits = {"memory/memory.limit_in_bytes": str(96 * MB)}
    assert machine(tmp_path, "5:cpu,cpuacct:/\n4:memory:/docker/0123\n", limits) == 96 * MB


def test_without_a_limit_the_memory_is_the_machines(tmp_path):
    unlimited = settings.memory_bytes(tmp_path / "no-proc", tmp_path)
    assert unlimited > 128 * MB
    assert machine(tmp_path, "0::/\n", {"memory.max": "max"}) == unlimited


def test_a_machine_without_dev_shm_says_none(tmp_path):
    assert settings.shm_bytes(tmp_path / "absent") is None
    assert settings.shm_bytes(tmp_path) > 0
    assert settings.cpu_count() >= 1
