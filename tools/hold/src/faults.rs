//! Every system call fails once. strace(1) makes one call fail in each run, with EPERM, and the container is looked at
//! from the host: has the command been run without something that isolates it? Has the runner failed without a word? Is
//! anything left behind?
//!
//! strace counts the calls of one name in one process. So that those of `child` are reached, and not only those of
//! `run` in front of them, a step is tried in two halves: `run`, and nobody else, is traced; and `child`, in namespaces
//! that unshare(1) has made in the place of `run`. What does *not* fail:
//!
//! - what is done before `main`, by the C library and by Rust's: it aborts, and says so (but a PID 1 that is traced
//!   cannot abort);
//! - what only a mistake in the program makes fail, see [`NEVER_FAIL`];
//! - what the command's process does between fork and exec, a few calls of the standard library: strace would have to
//!   follow it, and so meet the command's own calls, too;
//! - in `child`, what asks for memory ([`OF_MEMORY`]): Rust aborts, as before `main`;
//! - in other runners, whose processes and threads are all followed: what is not about isolation ([`OF_ISOLATION`]),
//!   for the same reason;
//! - without [`whole`], of what is done more than 25 times (rt_sigaction(2), for one) all but some.
//!
//! A step is linked statically for this: what the dynamic linker does is not ours.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use classroom::{Error, Output, Session};

use crate::lab::{Lab, Options, Runner, around};
use crate::{Failure, Result};

/// What a campaign against one runner has found. Each line begins with the call that has failed.
#[derive(Debug, Default)]
pub struct Report {
    /// How many calls have failed.
    pub tried: usize,
    /// Where the command has run, isolated otherwise than without a failure.
    pub open: Vec<String>,
    /// Where the runner has failed and not said why, has panicked, or has not come to an end.
    pub silent: Vec<String>,
    /// Where something has stayed behind.
    pub left: Vec<String>,
}

/// The calls of other runners that are made to fail. No shell, no ls(1) and no readlink(1) makes one of them. (mknod(2)
/// is not among them: where it says EPERM, as in a user namespace, the others mount the host's device, on purpose.)
pub const OF_ISOLATION: &str = "bpf capset chdir chroot clone fchdir fsconfig fsmount fsopen keyctl mkdir mkdirat \
    mount mount_setattr move_mount open_tree pivot_root prctl seccomp setgid setgroups sethostname setns setresgid \
    setresuid setsid setuid symlink symlinkat umount2 unshare";

/// The calls that are left out, and why.
pub const NEVER_FAIL: &[(&str, &str)] = &[
    ("exit_group", "has no error to answer with"),
    ("rt_sigreturn", "has no error to answer with"),
    ("umask", "has no error to answer with"),
    ("wait4", "fails only where there is no child"),
    (
        "rt_sigprocmask",
        "fails for wrong arguments only; nix would not notice (pthread_sigmask returns its error)",
    ),
    (
        "close",
        "closes, whatever it says; for a directory Rust's library takes an error for a mistake, and panics",
    ),
    ("recvfrom", "signal-hook reads its own socket, takes an error for a mistake, and panics"),
    (
        "sendto",
        "signal-hook's handler writes to its own socket, and has nobody to tell of an error",
    ),
];

/// See above.
const OF_MEMORY: &[&str] = &["brk", "mmap", "mremap", "munmap"];

/// What the command prints of what it sees; then it waits to be looked at.
const COMMAND: &str =
    "hostname; ls / /dev; readlink /proc/1/exe || echo out of reach; echo ready; read x; exit 7";

static WHOLE: AtomicBool = AtomicBool::new(false);

/// From now on, every single call: not some of those of which there are many.
pub fn whole() {
    WHOLE.store(true, Ordering::Relaxed);
}

/// The report on a runner; the campaign is run once.
pub fn report(runner: &Runner) -> Result<Arc<Report>> {
    type Reports = BTreeMap<String, Arc<OnceLock<Result<Arc<Report>>>>>;
    static REPORTS: Mutex<Reports> = Mutex::new(BTreeMap::new());
    let report = match REPORTS.lock() {
        Ok(mut reports) => reports.entry(runner.name.clone()).or_default().clone(),
        Err(_) => return Err(Failure::NotHeld("another campaign has failed".into())),
    };
    report.get_or_init(|| campaign(runner).map(Arc::new)).clone()
}

fn campaign(runner: &Runner) -> Result<Report> {
    let runner = runner.linked_statically()?;
    let mut report = Report::default();
    let halves: &[Half] =
        if runner.step().is_some() { &[Half::Run, Half::Child] } else { &[Half::All] };
    for &half in halves {
        let trial = Trial::new(&runner, half)?;
        let calls = trial.calls()?;
        let normal = trial.start(None)?;
        let Some(normal_view) = &normal.view else {
            return Err(Failure::NotHeld(format!(
                "it does not run under strace: {:?}",
                normal.output
            )));
        };
        for (call, (first, last)) in calls {
            for number in numbers(first, last) {
                let fault = format!("{half:?}: {call} {number}");
                let seen = trial.start(Some((&call, number)))?;
                report.tried += 1;
                if let Some(view) = seen.view.as_ref().filter(|view| *view != normal_view) {
                    report.open.push(format!("{fault}: {}", difference(normal_view, view)));
                }
                if let Some(why) = silence(&seen) {
                    report.silent.push(format!("{fault}: {why}"));
                }
                if let Some(why) = seen.left {
                    report.left.push(format!("{fault}: {why}"));
                }
            }
        }
    }
    Ok(report)
}

/// Which of the calls with these numbers fail.
fn numbers(first: u32, last: u32) -> impl Iterator<Item = u32> {
    let all = last <= first + 25 || WHOLE.load(Ordering::Relaxed);
    let some = move |number: &u32| *number < first + 3 || number % 8 == 0 || *number == last;
    (first..=last).filter(move |number| all || some(number))
}

/// What of a runner is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    /// A step's `run`.
    Run,
    /// A step's `child`.
    Child,
    /// Another runner, with all of its processes.
    All,
}

/// What came of one run.
struct Seen {
    /// What the command has seen, and what it has, if it was started.
    view: Option<String>,
    output: Output,
    left: Option<String>,
}

/// Why a run is one that failed without a word.
fn silence(seen: &Seen) -> Option<String> {
    let Output { status, stderr, .. } = &seen.output;
    let said = stderr.lines().any(|line| !line.is_empty() && !line.starts_with("Running ["));
    if stderr.contains("panicked") {
        return Some(format!("it panics: {stderr}"));
    }
    match status {
        7 if seen.view.is_some() => None,
        0 | 7 => Some(format!("status {status}, and the command was not run")),
        137 => Some("no end: it was stopped".into()),
        129.. => None, // whoever is killed by a signal says that
        _ if said => None,
        _ => Some(format!("status {status}, and no word")),
    }
}

/// The first line that is another.
fn difference(normal: &str, view: &str) -> String {
    let other = |one: &str, two: &str| {
        let line = one.lines().find(|line| !two.lines().any(|other| other == *line));
        line.unwrap_or("nothing").to_string()
    };
    format!("{} instead of {}", other(view, normal), other(normal, view))
}

/// One host for all runs of a half.
struct Trial {
    lab: Lab,
    half: Half,
    options: Options,
    /// The name of the cgroup, where there is no `run` to choose one. Keyrings have it as well, and are the machine's.
    cgroup: String,
}

impl Trial {
    fn new(runner: &Runner, half: Half) -> Result<Trial> {
        let lab = Lab::new(runner)?;
        if lab.host.run("strace --version")?.status != 0 {
            return Err(Failure::Missing(Error::Missing("there is no strace here".into())));
        }
        let mut options = Options::default();
        if lab.cgroups.is_some() {
            options.pids = Some(20);
            options.memory = Some(50 << 20);
            options.cpus = Some(0.5);
        }
        let cgroup = format!("step10-faults-{}", lab.host.pid());
        Ok(Trial { lab, half, options, cgroup })
    }

    /// The command line on the host, traced with these options.
    fn traced(&self, strace: &str) -> Result<Vec<OsString>> {
        let argv = self.lab.with(&self.options, &["sh", "-c", COMMAND])?;
        let follow = if self.half == Half::All { "-f" } else { "" };
        if self.half != Half::Child {
            let script =
                format!("exec timeout -s KILL 60 strace {follow} -o trace {strace} \"$@\"");
            return Ok(around(&script, argv));
        }
        let step = self.lab.runner.step().unwrap_or_default();
        let mut namespaces = "--uts --pid".to_string();
        if step >= 8 {
            namespaces += " --ipc --net";
        }
        if step >= 9 {
            namespaces += " --user --map-root-user";
        }
        let change_directory = if step >= 9 { "cd rootfs" } else { ":" };
        let cgroup = if step >= 10 { &*self.cgroup } else { "" };
        // With -D, strace is not the parent of `child`, which is PID 1 as it is else.
        let script = format!(
            "shift 2; {change_directory}; exec timeout -s KILL 60 sh -c 'exec unshare {namespaces} --fork env -i \
             PATH=$PATH strace -D -o /workshop/trace {strace} {} child $$ {cgroup} \"$@\"' sh \"$@\"",
            self.lab.program()
        );
        Ok(around(&script, argv))
    }

    /// The calls that can fail, by name, and the numbers of the first and the last of them in one process.
    fn calls(&self) -> Result<BTreeMap<String, (u32, u32)>> {
        self.run(self.traced("")?)?;
        let mut by_process: BTreeMap<(String, String), u32> = BTreeMap::new();
        let mut before_main = BTreeMap::new();
        for line in self.lab.host.read("/workshop/trace")?.lines() {
            // With -f, a number stands in front.
            let (process, call) = match line.split_once(' ') {
                Some((pid, rest)) if pid.parse::<u32>().is_ok() => (pid, rest.trim_start()),
                _ => ("", line),
            };
            let Some((name, args)) = call.split_once('(') else { continue };
            // `Running [` is the first that `run` and `child` say.
            if self.half != Half::All && before_main.is_empty() && args.starts_with("2, \"Running")
            {
                before_main = by_process.clone();
            }
            if name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
                *by_process.entry((process.into(), name.into())).or_default() += 1;
            }
        }
        let mut calls: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        for ((process, name), count) in by_process {
            let fails = match self.half {
                Half::All => OF_ISOLATION.split(' ').any(|call| call == name),
                Half::Child if OF_MEMORY.contains(&name.as_str()) => false,
                _ => !NEVER_FAIL.iter().any(|(never, _)| *never == name),
            };
            let before = before_main.get(&(process, name.clone())).copied().unwrap_or(0);
            if fails && count > before {
                let numbers = calls.entry(name).or_insert((before + 1, count));
                numbers.1 = count.max(numbers.1);
            }
        }
        Ok(calls)
    }

    /// Runs the command, with or without a failure.
    fn start(&self, fault: Option<(&str, u32)>) -> Result<Seen> {
        let strace = match fault {
            Some((call, number)) => {
                format!("-e trace={call} -e inject={call}:error=EPERM:when={number}")
            }
            None => "-e trace=execve".into(),
        };
        self.run(self.traced(&strace)?)
    }

    fn run(&self, argv: Vec<OsString>) -> Result<Seen> {
        self.lab.this_takes_long();
        let mut session = Session::start(&mut self.lab.host.command(argv))?;
        let view = match session.wait_for("ready\n") {
            Ok(said) => Some(self.view(&said)?),
            Err(_) => None,
        };
        let output = session.finish()?;
        // Without `run` nobody removes the cgroup. And where that fails it is enough to say so.
        let is_said = |words: &[&str]| {
            output.stderr.lines().any(|line| words.iter().all(|word| line.contains(word)))
        };
        self.lab.cgroups_may_stay(self.half == Half::Child || is_said(&["cgroup step10-"]));
        let left = match self.lab.nothing_is_left() {
            Err(Failure::NotHeld(why)) if why.contains("mount") && is_said(&["cannot unmount"]) => {
                None
            }
            Err(Failure::NotHeld(why)) => Some(why),
            other => other.map(|()| None)?,
        };
        self.lab.clean()?;
        Ok(Seen { view, output, left })
    }

    /// What the command says, and what is to be seen of its process: all that isolation is made of.
    fn view(&self, said: &str) -> Result<String> {
        let host = &self.lab.host;
        let mut view = said.to_string();
        let pids = self.lab.pids_of(&format!("sh -c {COMMAND}"));
        let [pid] = pids[..] else {
            return Ok(format!("{} processes run the command", pids.len()));
        };
        let link = |pid, name: &str| {
            let link = fs::read_link(host.path(&format!("/proc/{pid}/{name}")));
            link.map_or_else(|err| err.to_string(), |link| without_numbers(&link.to_string_lossy()))
        };
        let namespace = |pid, name: &str| {
            fs::read_link(host.path(&format!("/proc/{pid}/ns/{name}"))).unwrap_or_default()
        };
        for name in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
            let whose =
                if namespace(pid, name) == namespace(1, name) { "the host's" } else { "its own" };
            view += &format!("{name} namespace: {whose}\n");
        }
        for name in ["root", "cwd", "fd/0", "fd/1", "fd/2"] {
            view += &format!("{name}: {}\n", link(pid, name));
        }
        let fds = fs::read_dir(host.path(&format!("/proc/{pid}/fd"))).into_iter().flatten();
        view += &format!("descriptors: {}\n", fds.count());
        let read = |name: &str| {
            host.read(&format!("/proc/{pid}/{name}")).unwrap_or_else(|err| err.to_string())
        };
        let fields = ["Uid", "Gid", "Groups", "Sig", "Cap", "NoNew", "Seccomp", "Umask"];
        for line in read("status").lines() {
            if fields.iter().any(|field| line.starts_with(field)) && !line.starts_with("SigQ") {
                view += &format!("{line}\n");
            } else if line.starts_with("NSsid") {
                let leader = line.rsplit('\t').next().unwrap_or_default();
                view += &format!("session's leader inside: {leader}\n");
            }
        }
        for line in read("mountinfo").lines() {
            // Without the numbers of mounts, devices and peer groups.
            let fields = line.split(' ').skip(3).map(|field| match field.split_once(':') {
                Some((kind @ ("shared" | "master" | "propagate_from"), _)) => kind,
                _ => field,
            });
            view += &format!("mount: {}\n", fields.collect::<Vec<_>>().join(" "));
        }
        for name in ["uid_map", "gid_map", "setgroups", "oom_score_adj", "limits"] {
            view += &format!("{name}: {}", read(name));
        }
        view += &format!("variables: {}\n", read("environ").replace('\0', " "));
        let cgroup = read("cgroup");
        view += &without_numbers(&cgroup);
        if let Some(cgroups) = &self.lab.cgroups {
            for (v2, v1) in [
                ("pids.max", "pids/pids.max"),
                ("memory.max", "memory/memory.limit_in_bytes"),
                ("cpu.max", "cpu/cpu.cfs_quota_us"),
            ] {
                let value = cgroups.read(v2, v1).unwrap_or_else(|err| err.to_string());
                view += &format!("{v2}: {}\n", value.trim_end_matches(" 100000"));
            }
        }
        // A session keyring of its own has the cgroup's name.
        let name = cgroup
            .lines()
            .find_map(|line| line.rsplit('/').next().filter(|name| name.starts_with("step10-")));
        let keys = fs::read_to_string("/proc/keys").unwrap_or_default();
        let own = name.is_some_and(|name| keys.contains(&format!("{name}: ")));
        view += &format!("keyring: {own}\n");
        Ok(view)
    }
}

/// Numbers of processes, pipes and cgroups are others each time.
fn without_numbers(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}
