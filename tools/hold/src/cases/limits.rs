//! Limits on processes, memory and CPU time.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use classroom::error::Attempt;
use classroom::{Cgroups, Session, output, until};

use crate::lab::{Lab, Options, around};
use crate::{Case, Outcome, Result, hold, not_applicable, only_root, same};

const GROUP: &str = "limits";

pub const CASES: &[Case] = &[
    case!(10, values, "the limits stand in the cgroup's files, in the kernel's units"),
    case!(10, fork_bomb, "a fork bomb ends at the limit, the host goes on, nothing is left"
        => |lab| bomb(lab, &pids(30), "30")),
    case!(10, default_pids, "without an option: at most 20 processes"),
    case!(10, independent, "two containers: one at its limit, the other can still fork"),
    case!(10, memory_eater, "a memory eater is killed, 137, and its runner lives to say so"),
    case!(10, memory_tmpfs, "a file in /dev or a tmpfs of the container counts as its memory"),
    case!(
        10,
        memory_grandchild,
        "a child eats the memory: the command lives on or is killed, the host goes on"
    ),
    case!(10, cpu_quota, "half a CPU is at most 20 % more than that" => |lab| half_a_cpu(lab, 1)),
    case!(10, cpu_quota_all, "it is one quota for all processes of the container"
        => |lab| half_a_cpu(lab, 4)),
    case!(10, tiny_memory, "a memory limit of one byte: no hang, nothing is left"),
    case!(10, pids_one, "a limit of one process: an error, no hang, nothing is left"),
    case!(10, no_controllers, "no cgroup file system: 125, and the command is not started"),
    case!(10, no_memory_controller, "one controller missing: 125, and the command is not started"),
    case!(10, not_root, "an ordinary user: 125, \"use sudo\", and the command is not started"),
    case!(10, memory_usage, "malformed --memory: wrong usage, 2"),
    case!(10, pids_usage, "malformed --pids-limit: wrong usage, 2"),
    case!(10, cpus_usage, "malformed --cpus: wrong usage, 2"),
    case!(10, after_not_found, "no cgroup is left if the command is not found"),
    case!(10, after_failed_setup, "no cgroup is left if the rootfs is missing"),
    case!(10, after_sigterm, "no cgroup is left after SIGTERM, and after SIGINT"),
    case!(10, after_child_cgroup, "nor if the container has made cgroups in its own"),
    case!(10, release_agent, "no release_agent can be set (CVE-2022-0492)"),
    case!(
        10,
        cgroup_mounted,
        "container root cannot raise its own limit by mounting the cgroup file system",
        "guide: the cgroup, from inside; exercise 09-caps"
    ),
    case!(
        10,
        other_trees,
        "a cgroup of the host in another tree (v1: freezer) cannot be frozen",
        "guide: the cgroup, from inside; exercise 09-caps"
    ),
    case!(
        10,
        dev_size,
        "without --memory, a file in /dev does not grow without end",
        "guide: and besides (/dev)"
    ),
];

fn cgroups(lab: &Lab) -> Result<&Cgroups> {
    lab.cgroups.as_ref().map_or_else(|| not_applicable("no limits"), Ok)
}

fn pids(limit: u64) -> Options {
    Options { pids: Some(limit), ..Options::default() }
}

fn memory(limit: u64) -> Options {
    Options { memory: Some(limit), ..Options::default() }
}

fn values(lab: &Lab) -> Outcome {
    let options =
        Options { pids: Some(17), memory: Some(50 << 20), cpus: Some(0.5), ..Options::default() };
    let running = lab.start_with(&options, "echo ready; read x")?;
    let cgroups = cgroups(lab)?;
    let pids = cgroups.read("pids.max", "pids/pids.max")?;
    let memory = cgroups.read("memory.max", "memory/memory.limit_in_bytes")?;
    let cpu = cgroups.read("cpu.max", "cpu/cpu.cfs_quota_us")?;
    running.finish()?;
    same("pids", pids.as_str(), "17")?;
    same("memory", memory.as_str(), "52428800")?;
    same("cpu", cpu.trim_end_matches(" 100000"), "50000")
}

/// Reads the limit back, and only then lets the bomb go. (The end of its input must not.) It goes on until its last
/// line of input: the shell that waits for that forks no more itself. The bomb has a shell of its own: ash ends
/// where it cannot fork.
fn bomb(lab: &Lab, options: &Options, limit: &str) -> Outcome {
    let bomb =
        "f() { f | f & }; echo ready; read x; test \"$x\" = go || exit 9; (f); read x; exit 7";
    let mut running = lab.start_with(options, bomb)?;
    let cgroups = cgroups(lab)?;
    same("the limit", cgroups.read("pids.max", "pids/pids.max")?.as_str(), limit)?;
    running.session.send("go\n")?;
    until("the bomb meets its limit", || {
        Ok(cgroups.read("pids.events", "pids/pids.events")?.lines().next() != Some("max 0"))
    })?;
    let highest: u64 = limit.parse().unwrap_or(0);
    for _ in 0..10 {
        let current = cgroups.read("pids.current", "pids/pids.current")?;
        hold(current.parse().is_ok_and(|n: u64| n <= highest), || format!("{current} processes"))?;
        same("the host", lab.host.run("echo is usable")?.stdout.as_str(), "is usable\n")?;
    }
    running.session.send("end\n")?;
    same("status", running.finish()?.status, 7)
}

fn default_pids(lab: &Lab) -> Outcome {
    lab.only_steps()?;
    bomb(lab, &Options::default(), "20")
}

fn independent(lab: &Lab) -> Outcome {
    let fork =
        "i=0; while [ $i -lt 8 ]; do sleep 7777 & i=$((i+1)); done; echo ready; read x; exit 7";
    let small = "trap 'echo ready; exec sleep 7777' EXIT; ";
    let mut full = lab.start_with(&pids(5), &format!("{small}{fork}"))?;
    let other = lab.run_with(&pids(20), &fork.replace("read x;", ""))?;
    full.session.close();
    for pid in lab.pids_of("sleep 7777") {
        lab.host.run(&format!("kill -KILL {pid}"))?;
    }
    full.finish()?;
    same("status", other.status, 7)?;
    same("output", other.stdout.as_str(), "ready\n")
}

fn memory_eater(lab: &Lab) -> Outcome {
    let script = "exec dd if=/dev/zero of=/dev/null bs=100M count=1";
    let out = lab.run_with(&memory(20 << 20), script)?;
    same("status", out.status, 137)
}

fn memory_tmpfs(lab: &Lab) -> Outcome {
    let script = "dd if=/dev/zero of=/dev/file bs=1M count=100 && echo all of it";
    let out = lab.run_with(&memory(20 << 20), script)?;
    hold(!out.stdout.contains("all of it"), || "100 MiB in a file, with a limit of 20".into())
}

fn memory_grandchild(lab: &Lab) -> Outcome {
    let script = "sh -c 'dd if=/dev/zero of=/dev/null bs=100M count=1'; echo status $?; exit 7";
    let out = lab.run_with(&memory(20 << 20), script)?;
    hold([7, 137].contains(&out.status), || format!("status {}", out.status))?;
    hold(!out.stdout.contains("status 0"), || "100 MiB with a limit of 20".into())
}

/// CPU time (of `processes` busy loops) for the time that passed, in percent. Both are read while the loops
/// run; the quota counts in periods of 100 ms, of which the first may be used up at once.
fn usage(lab: &Lab, options: &Options, processes: usize) -> Result<f64> {
    let one = "while :; do :; done";
    let script = format!("{}echo ready; {one}", format!("sh -c '{one}' & ").repeat(processes - 1));
    let running = lab.start_with(options, &script)?;
    let spent = || -> Result<u64> {
        let all = lab.host.run("cat /proc/[0-9]*/stat")?.stdout;
        let ticks = all.lines().filter_map(|line| {
            let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
            let name = line.split_once('(')?.1.split(')').next()?;
            let ticks = fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?;
            (name == "sh" || name == "busybox").then_some(ticks)
        });
        Ok(ticks.sum())
    };
    let (start, before) = (Instant::now(), spent()?);
    until("two seconds of quota are used", || start.elapsed().as_millis() >= 2000)?;
    let spent = spent()? - before;
    // Only this much later: a machine that is slow here gives more time, never less.
    let passed = start.elapsed().as_secs_f64();
    let loops = lab.host.processes().into_iter().filter(|(_, args)| args.contains(one));
    for (pid, _) in loops.filter(|(pid, _)| *pid != running.pid) {
        lab.host.run(&format!("kill -KILL {pid}"))?;
    }
    running.finish()?;
    Ok(spent as f64 / passed)
}

fn half_a_cpu(lab: &Lab, processes: usize) -> Outcome {
    let options = Options { cpus: Some(0.5), ..Options::default() };
    let percent = usage(lab, &options, processes)?;
    hold(percent <= 60.0, || format!("{percent:.0} % of a CPU"))
}

fn tiny_memory(lab: &Lab) -> Outcome {
    let out = lab.run_with(&memory(1), "echo started")?;
    hold(out.status != 0 && out.stdout.is_empty(), || format!("{out:?}"))
}

fn pids_one(lab: &Lab) -> Outcome {
    let out = lab.run_with(&pids(1), "true; true; exit 7")?;
    if lab.only_steps().is_err() {
        return Ok(()); // the command is the one process
    }
    same("status", out.status, 125)?;
    hold(out.stderr.contains("temporarily unavailable"), || out.stderr)
}

fn refused(lab: &Lab, argv: Vec<OsString>) -> Result<String> {
    let out = output(&mut lab.host.command(argv))?;
    hold(!out.stdout.contains("started"), || "the command was started".into())?;
    same("status", out.status, 125)?;
    hold(!out.stderr.contains("panicked"), || out.stderr.clone())?;
    Ok(out.stderr)
}

fn no_controllers(lab: &Lab) -> Outcome {
    cgroups(lab)?;
    lab.host.run("mount -t tmpfs none /sys/fs/cgroup")?;
    let refused = refused(lab, lab.with(&pids(5), &["echo", "started"])?);
    lab.host.run("umount /sys/fs/cgroup")?;
    refused.map(drop)
}

fn no_memory_controller(lab: &Lab) -> Outcome {
    let cgroups = cgroups(lab)?;
    let (hide, show) = if cgroups.v2 {
        (
            "echo -memory >/sys/fs/cgroup/cgroup.subtree_control",
            "echo +memory >/sys/fs/cgroup/cgroup.subtree_control",
        )
    } else {
        ("mount -t tmpfs none /sys/fs/cgroup/memory", "umount /sys/fs/cgroup/memory")
    };
    lab.host.run(hide)?;
    let refused = refused(lab, lab.with(&memory(50 << 20), &["echo", "started"])?);
    lab.host.run(show)?;
    refused.map(drop)
}

fn not_root(lab: &Lab) -> Outcome {
    cgroups(lab)?;
    lab.only_steps()?;
    let argv = lab.with(&pids(5), &["echo", "started"])?;
    let out = output(&mut lab.host.learner(argv))?;
    same("stdout", out.stdout.as_str(), "")?;
    same("status", out.status, 125)?;
    hold(out.stderr.contains("use sudo"), || out.stderr)
}

fn malformed(lab: &Lab, option: &str, values: &[&str]) -> Outcome {
    lab.only_steps()?;
    for value in values {
        let mut command = lab.host.command([&lab.program(), "run"]);
        let out = output(command.args([&format!("{option}={value}"), "echo", "started"]))?;
        hold(out.stdout.is_empty(), || format!("{option}={value}: the command was started"))?;
        hold(out.status == 2, || format!("{option}={value}: status {}", out.status))?;
        hold(out.stderr.contains(option), || format!("{option}={value}: {}", out.stderr))?;
    }
    Ok(())
}

const NEVER: &[&str] =
    &["", "-1", "0", "x", "1x", "nan", "inf", "-inf", "1e30", "0x10", "5 5", "é", "1é"];

fn memory_usage(lab: &Lab) -> Outcome {
    malformed(lab, "--memory", NEVER)?;
    malformed(lab, "--memory", &["5x", "5mm", "m", "18446744073709551616", "99999999999g", "-5m"])
}

fn pids_usage(lab: &Lab) -> Outcome {
    malformed(lab, "--pids-limit", NEVER)?;
    malformed(lab, "--pids-limit", &["1.5", "5k", "18446744073709551616", "max"])
}

fn cpus_usage(lab: &Lab) -> Outcome {
    malformed(lab, "--cpus", NEVER)?;
    malformed(lab, "--cpus", &["0.0", "-0.5", "1,5", "1.5.5", "1e300"])
}

fn after_not_found(lab: &Lab) -> Outcome {
    cgroups(lab)?;
    output(&mut lab.host.command(lab.argv(&["no-such-command"])))?;
    lab.nothing_is_left()
}

fn after_failed_setup(lab: &Lab) -> Outcome {
    cgroups(lab)?;
    lab.run_with(&Options::rootfs("no-rootfs"), "true")?;
    lab.nothing_is_left()
}

fn after_sigterm(lab: &Lab) -> Outcome {
    cgroups(lab)?;
    for signal in ["TERM", "INT", "HUP"] {
        let running = lab.start("echo ready; exec sleep 7777")?;
        running.signal(signal)?;
        running.finish()?;
        lab.nothing_is_left()?;
    }
    Ok(())
}

/// Mounts the cgroup file system of the pids controller, whichever version.
const MOUNT: &str = "mkdir -p /cg; mount -t cgroup -o pids pids /cg 2>/dev/null || \
    mount -t cgroup2 cgroup2 /cg 2>/dev/null || exit 7; cd /cg; ";

fn after_child_cgroup(lab: &Lab) -> Outcome {
    cgroups(lab)?;
    // Deeper in one another than the runner may have files open.
    let script = format!("{MOUNT} for i in $(seq 100); do mkdir d && cd d || exit 9; done; exit 8");
    let out = lab.around("ulimit -S -n 64; exec \"$@\"", &["sh", "-c", &script])?;
    hold([7, 8].contains(&out.status), || format!("status {}: {}", out.status, out.stderr))?;
    lab.nothing_is_left()
}

/// A cgroup in a tree of version 1 that no runner joins; on the machine, under a name of our own.
struct Freezer(PathBuf);

impl Freezer {
    fn new() -> Result<Freezer> {
        let tree = Path::new("/sys/fs/cgroup/freezer");
        if !tree.join("cgroup.procs").exists() {
            return not_applicable("no freezer tree: cgroup v2 has only one tree");
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hold-freezer-{}-{count}", std::process::id());
        let freezer = Freezer(tree.join(name));
        fs::create_dir_all(freezer.0.join("neighbour")).attempt("make a cgroup")?;
        Ok(freezer)
    }

    fn state(&self) -> PathBuf {
        self.0.join("neighbour/freezer.state")
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        _ = fs::write(self.state(), "THAWED");
        for folder in [self.0.join("neighbour"), self.0.clone()] {
            let gone = || fs::remove_dir(&folder).is_ok() || !folder.exists();
            _ = until("it can be removed", gone);
        }
    }
}

/// The caller and its neighbour are below one cgroup, as they are below a session's. What the container mounts is the
/// caller's.
fn other_trees(lab: &Lab) -> Outcome {
    only_root("only root makes cgroups")?;
    let freezer = Freezer::new()?;
    let join = |folder: &Path| format!("echo $$ >{}/tasks; exec \"$@\"", folder.display());
    let neighbour = around(&join(&freezer.0.join("neighbour")), vec!["cat".into()]);
    let mut neighbour = Session::start(&mut lab.host.command(neighbour))?;
    neighbour.send("there\n")?;
    neighbour.wait_for("there\n")?;
    let freeze = "mkdir -p /cg; mount -t cgroup -o freezer freezer /cg; \
        echo FROZEN >/cg/neighbour/freezer.state; exit 7";
    let status = lab.around(&join(&freezer.0), &["sh", "-c", freeze])?.status;
    let state = fs::read_to_string(freezer.state()).attempt("read its state")?;
    fs::write(freezer.state(), "THAWED").attempt("thaw it")?;
    neighbour.finish()?;
    same("status", status, 7)?;
    hold(state.trim() == "THAWED", || format!("it is {}", state.trim()))
}

fn release_agent(lab: &Lab) -> Outcome {
    cgroups(lab)?;
    let out =
        lab.run(&format!("{MOUNT} (: >>release_agent) && ls release_agent && exit 1; exit 7"))?;
    same("status", out.status, 7)
}

/// Mounted with nsdelegate, as systemd does it, version 2 refuses to write to what limits the root of a
/// cgroup namespace (cgroups(7)).
fn cgroup_mounted(lab: &Lab) -> Outcome {
    let script = format!("{MOUNT} echo 1000 >pids.max && echo raised to $(cat pids.max)");
    let out = lab.run_with(&pids(20), &script)?;
    hold(!out.stdout.contains("raised to 1000"), || "it can".into())?;
    if lab.runner.step().is_some() && lab.host.read("/proc/1/mountinfo")?.contains("nsdelegate") {
        return not_applicable("cgroup v2 with nsdelegate: the kernel refuses it to all");
    }
    Ok(())
}

fn dev_size(lab: &Lab) -> Outcome {
    let out = lab.run("df -k /dev | tail -n 1; df -k / | tail -n 1")?;
    let size =
        |line: &str| line.split_whitespace().nth(1).and_then(|size| size.parse::<u64>().ok());
    let size = out.stdout.lines().next().and_then(size).unwrap_or(u64::MAX);
    hold(size <= 1 << 16, || format!("it may grow to {} MiB", size >> 10))
}
