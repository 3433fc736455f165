//! Cgroups and their limits.

use super::Case;
use super::Explains::All;
use super::Explains::Checks;
use super::Explains::NotRun;
use super::Row;
use super::seen;
use crate::lab::Call;

/// The checks that want a command in its cgroup.
const LIMITS: &[&str] = &["pids_limit", "memory", "cpus", "runner_free", "cgroup_root", "refuses", "cgroup_gone"];

pub const ROWS: &[Row] = &[
    seen(
        "cgroup_gone",
        All,
        |it| it.failed("mkdir", &["EEXIST"]) && in_cgroups(it),
        "EEXIST: {call}. The name of the cgroup is the same in every run, and another container has it (or an earlier one \
         has left it behind). Make it unique, with `run`'s process number for example",
    ),
    seen(
        "pids_limit",
        NotRun,
        |it| it.failed("open", &["ENOENT"]) && in_cgroups(it),
        "ENOENT: {call}. There is no such file in the cgroup: on version 2 the limit of each controller is in one folder \
         (pids.max, memory.max, cpu.max), on version 1 each controller has a tree of its own (/sys/fs/cgroup/pids/…), and \
         the cgroup has to be made before its files are there",
    ),
    seen(
        "pids_limit",
        NotRun,
        |it| it.failed("write", &["EINVAL", "ERANGE"]) && in_cgroups(it),
        "{call}: the kernel refuses this value. A limit is a plain number (`max` for none), cpu.max of version 2 two of them",
    ),
    seen(
        "pids_limit",
        NotRun,
        |it| it.failed("write", &["ESRCH"]) && in_cgroups(it),
        "ESRCH: {call}. There is no process of this number; 0 means \"me\"",
    ),
    seen(
        "refuses",
        Checks(LIMITS),
        |it| late(it, &["pids.max", "memory.max", "memory.limit_in_bytes", "cpu.max", "cpu.cfs_quota_us"]) && !joined_late(it),
        "the limit was written when the command was running already: until then there was none, and an error comes too late. \
         Write it before the command is started",
    ),
    seen(
        "runner_free",
        Checks(LIMITS),
        joined_late,
        "the cgroup was joined when the command was started already: what it had started by then is outside, and without a \
         limit. `child` has to join, itself, before it starts the command",
    ),
];

fn in_cgroups(it: &Case) -> bool {
    it.call().is_some_and(|call| {
        call.args.iter().any(|arg| arg.contains("/sys/fs/cgroup"))
    })
}

/// Whether something was written to one of these files when the command was there.
fn late(it: &Case, files: &[&str]) -> bool {
    let Some(command) = it.trace().command() else { return false };
    files.iter().any(|file| it.trace().written(file).any(|call| call.at > command.at))
}

fn joined_late(it: &Case) -> bool {
    let Some(command) = it.trace().command() else { return false };
    let joins = |call: &&Call| call.file().contains("/sys/fs/cgroup");
    ["cgroup.procs", "tasks"].iter().any(|file| {
        it.trace().written(file).filter(joins).any(|call| call.at > command.at)
    })
}
