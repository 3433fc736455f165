//! Cgroups and their limits.

use super::Explains::{All, Checks};
use super::{Case, Row, said, seen};
use crate::lab::Call;

/// The checks that want a command in its cgroup.
const LIMITS: &[&str] =
    &["pids_limit", "memory", "cpus", "runner_free", "cgroup_root", "refuses", "cgroup_gone"];

pub const ROWS: &[Row] = &[
    seen(
        "cgroup_gone",
        |it| it.failed("mkdir", &["EEXIST"]) && in_cgroups(it),
        "EEXIST: {call}. The name of the cgroup is the same in every run, and another container has it (or an earlier \
         one has left it behind). Make it unique, with `run`'s process number for example",
    )
    .of(All),
    seen(
        "pids_limit",
        |it| it.failed("open", &["ENOENT"]) && in_cgroups(it),
        "ENOENT: {call}. There is no such file in the cgroup: on version 2 the limit of each controller is in one \
         folder (pids.max, memory.max, cpu.max), on version 1 each controller has a tree of its own \
         (/sys/fs/cgroup/pids/…), and the cgroup has to be made before its files are there",
    ),
    said(
        "pids_limit",
        |it| {
            it.says("there is no") && it.says("/sys/fs/cgroup/") && !is_top_file(it) && !is_made(it)
        },
        "the cgroup was not made: its files are there as soon as mkdir(2) has made its folder, in each tree that has a \
         limit",
    ),
    said(
        "pids_limit",
        |it| {
            it.says("there is no") && it.says("/sys/fs/cgroup/") && !is_top_file(it) && is_made(it)
        },
        "the cgroup was made, but this file is not in it. On version 1 each controller has a tree of its own: pids.max \
         is below /sys/fs/cgroup/pids, memory.limit_in_bytes below /sys/fs/cgroup/memory, cpu.cfs_quota_us below \
         /sys/fs/cgroup/cpu. (Version 2 has one, with pids.max, memory.max and cpu.max)",
    ),
    said(
        "pids_limit",
        |it| !it.says("/sys/fs/cgroup/") && !made_elsewhere(it).is_empty(),
        "the folder was made at {made}, and that is no place for a cgroup: it has to be below /sys/fs/cgroup. \
         (Path::join with something that begins with `/` forgets all that stood before)",
    ),
    seen(
        "cgroup_root",
        |it| it.failed("mkdir", &["ENOENT"]) && in_cgroups(it) && has_left(it),
        "ENOENT: {call}. /sys is out of reach as soon as the old root is gone: make the cgroup, and join it, before \
         pivot_root(2)",
    ),
    seen(
        "pids_limit",
        |it| it.failed("mkdir", &["ENOENT"]) && in_cgroups(it) && !has_left(it),
        "ENOENT: {call}. mkdir(2) makes one folder, and the one above it is not there: /sys/fs/cgroup/pids/NAME \
         (version 1), or /sys/fs/cgroup/NAME (version 2)",
    ),
    seen(
        "pids_limit",
        |it| it.failed("write", &["EINVAL", "ERANGE"]) && in_cgroups(it) && !is_about_cpu(it),
        "{call}: the kernel refuses this value. A limit is a plain number (`max` for none), cpu.max of version 2 two \
         of them",
    ),
    seen(
        "cpus",
        |it| it.failed("write", &["EINVAL", "ERANGE"]) && in_cgroups(it) && is_about_cpu(it),
        "{call}: the kernel refuses this quota. It is microseconds of a period of 100000, and at least 1000: half a \
         CPU is 50000",
    ),
    said(
        "cpus",
        |it| {
            it.trace().is_empty()
                && it.says_one_of(&["Invalid argument", "EINVAL"])
                && is_about_cpu(it)
        },
        "EINVAL: the kernel refuses this quota. It is microseconds of a period of 100000, and at least 1000: half a \
         CPU is 50000",
    ),
    seen(
        "runner_free",
        |it| runner_joins(it) && !joined_late(it),
        "the runner joined the cgroup, and its children inherited it: so it counts against the container's limits, and \
         cannot remove the cgroup that it is in itself (EBUSY). Let `child` join instead: it writes 0 (\"me\") to \
         cgroup.procs",
    )
    .of(All),
    seen(
        "memory",
        wrong_memory,
        "{memory}: 50M are 50 * 1024 * 1024 = 52428800 bytes. K, M and G are powers of 1024 (1 << 10, 1 << 20, \
         1 << 30)",
    )
    .of(All),
    seen(
        "pids_limit",
        |it| joins(it).any(is_top) && !runner_joins(it) && !is_made(it),
        "the name of the cgroup is empty, so that its folder is the top one: {joined}. `run` makes a name up, and has \
         to tell it to `child`",
    )
    .of(Checks(LIMITS)),
    seen(
        "pids_limit",
        |it| joins(it).any(is_top) && !runner_joins(it) && is_made(it),
        "the cgroup was made, and `child` has joined another one, the top of the tree: {joined}. Each cgroup has such \
         a file; write to that in the folder of your own",
    )
    .of(Checks(LIMITS)),
    seen(
        "memory",
        |it| nothing_at_all(it).is_some(),
        "{zero}: a limit of nothing at all. Who is in that cgroup is killed, or does not run. Where no limit was asked \
         for, nothing is to be written",
    )
    .of(All),
    seen(
        "memory",
        |it| it.trace().written("memory.soft_limit_in_bytes").next().is_some(),
        "memory.soft_limit_in_bytes was written: that only says from whom the kernel takes first when the machine is \
         short of memory, and stops nobody. The limit is memory.limit_in_bytes (v2: memory.max)",
    )
    .of(Checks(&["memory"])),
    seen(
        "cpus",
        |it| {
            ["cpu.shares", "cpu.weight"]
                .iter()
                .any(|file| it.trace().written(file).next().is_some())
        },
        "cpu.shares (v2: cpu.weight) was written: that is a weight, which counts only while others want the CPU, too. \
         The limit is a quota: cpu.cfs_quota_us (v2: cpu.max)",
    )
    .of(Checks(&["cpus"])),
    said(
        "pids_limit",
        is_top_file,
        "the name of the cgroup is empty, so that its folder is the top one, which has no limits. `run` makes a name \
         up, and has to tell it to `child`",
    ),
    seen(
        "cgroup_gone",
        |it| {
            let ended = it.trace().waited();
            let removes = |call: &&Call| {
                call.name == "rmdir" && call.args.iter().any(|arg| arg.contains("/sys/fs/cgroup"))
            };
            it.trace().own().find(removes).is_some_and(|call| ended.is_none_or(|at| call.at < at))
        },
        "the cgroup is removed too early: rmdir(2) comes before the container has ended (EBUSY, or ENOENT if it is not \
         even there yet). First wait for `child`, then remove it",
    )
    .of(All),
    seen(
        "pids_limit",
        |it| it.failed("write", &["ESRCH"]) && in_cgroups(it),
        "ESRCH: {call}. There is no process of this number; 0 means \"me\"",
    ),
    seen(
        "refuses",
        |it| {
            late(
                it,
                &["pids.max", "memory.max", "memory.limit_in_bytes", "cpu.max", "cpu.cfs_quota_us"],
            ) && !joined_late(it)
        },
        "the limit was written when the command was running already: until then there was none, and an error comes too \
         late. Write it before the command is started",
    )
    .of(Checks(LIMITS)),
    seen(
        "runner_free",
        joined_late,
        "the cgroup was joined when the command was started already: what it had started by then is outside, and \
         without a limit. `child` has to join, itself, before it starts the command",
    )
    .of(Checks(LIMITS)),
];

/// Whether it complains of a file that would be in the top folder.
fn is_top_file(it: &Case) -> bool {
    it.says_one_of(&["/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max"])
}

/// Whether a cgroup was made.
fn is_made(it: &Case) -> bool {
    it.trace().named("mkdir").any(|call| call.done() && call.arg(0).contains("/sys/fs/cgroup/"))
}

/// A limit of zero.
pub fn nothing_at_all<'a>(it: &'a Case) -> Option<&'a Call> {
    let files = ["pids.max", "memory.max", "memory.limit_in_bytes", "cpu.max", "cpu.cfs_quota_us"];
    files.iter().find_map(|file| it.trace().written(file).find(|call| call.arg(1) == "0"))
}

/// A folder that was made at the top of the host's files.
pub fn made_elsewhere(it: &Case) -> String {
    let at_top = |call: &&Call| call.done() && call.arg(0).rfind('/') == Some(0);
    let made = it.trace().named("mkdir").find(at_top);
    made.map_or(String::new(), |call| format!("{:?}", call.arg(0)))
}

/// Whether the root was changed before.
fn has_left(it: &Case) -> bool {
    ["pivot_root", "chroot"].iter().any(|name| it.trace().named(name).any(Call::done))
}

/// Whether what was refused is a limit on CPU time.
fn is_about_cpu(it: &Case) -> bool {
    let files = ["cpu.max", "cpu.cfs_"];
    match it.call() {
        Some(call) => files.iter().any(|file| call.file().contains(file)),
        None => it.says_one_of(&files),
    }
}

fn in_cgroups(it: &Case) -> bool {
    it.call().is_some_and(|call| call.args.iter().any(|arg| arg.contains("/sys/fs/cgroup")))
}

/// Whether the runner writes itself into the cgroup.
fn runner_joins(it: &Case) -> bool {
    let runner = it.trace().runner();
    let joins = |call: &Call| {
        call.done()
            && call.pid == runner
            && call.file().contains("/sys/fs/cgroup")
            && [runner.to_string().as_str(), "0"].contains(&call.arg(1))
    };
    ["cgroup.procs", "tasks"].iter().any(|file| it.trace().written(file).any(joins))
}

/// The calls by which somebody joins a cgroup.
fn joins<'a>(it: &'a Case) -> impl Iterator<Item = &'a Call> {
    let files = ["cgroup.procs", "tasks"].into_iter();
    files
        .flat_map(|file| it.trace().written(file))
        .filter(|call| call.file().contains("/sys/fs/cgroup"))
}

/// Whether it is the top one of its tree.
fn is_top(call: &Call) -> bool {
    let folder = call.file().rsplit_once('/').map_or("", |(folder, _)| folder);
    let name = folder.trim_start_matches("/sys/fs/cgroup").trim_matches('/');
    ["", "pids", "memory", "cpu"].contains(&name)
}

/// Where somebody joins.
pub fn joined(it: &Case) -> String {
    joins(it).next().map_or(String::new(), Call::shown)
}

/// The limit on memory, if it is another one than was asked for.
fn memory_limit<'a>(it: &'a Case) -> Option<&'a Call> {
    let asked = it.done.args.windows(2).any(|words| words == ["--memory", "50M"]);
    let files = ["memory.limit_in_bytes", "memory.max"];
    let call = files.iter().find_map(|file| it.trace().written(file).find(|call| call.done()))?;
    (asked && call.arg(1) != "52428800").then_some(call)
}

fn wrong_memory(it: &Case) -> bool {
    memory_limit(it).is_some()
}

/// What was written.
pub fn memory(it: &Case) -> String {
    memory_limit(it).map_or(String::new(), Call::shown)
}

/// Whether something was written to one of these files when the command was there.
fn late(it: &Case, files: &[&str]) -> bool {
    let Some(command) = it.trace().command() else { return false };
    files.iter().any(|file| it.trace().written(file).any(|call| call.at > command.at))
}

fn joined_late(it: &Case) -> bool {
    let Some(command) = it.trace().command() else { return false };
    let joins = |call: &&Call| call.file().contains("/sys/fs/cgroup");
    ["cgroup.procs", "tasks"]
        .iter()
        .any(|file| it.trace().written(file).filter(joins).any(|call| call.at > command.at))
}
