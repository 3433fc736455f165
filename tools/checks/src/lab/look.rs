//! What is to be seen from the host: processes, namespaces, mounts.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::Lab;

/// A process, as the host sees it.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its number on the host.
    pub pid: u32,
    /// Its parent's number on the host.
    pub parent: u32,
    /// Whether it has ended, and nobody has waited for it yet.
    pub zombie: bool,
    /// Its arguments.
    pub args: Vec<String>,
}

/// A mount.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mount {
    /// Where it is.
    pub point: String,
    /// The type of what is mounted there.
    pub kind: String,
    /// Whether what is mounted on it shows in its copies, too.
    pub shared: bool,
    /// Whether this mount (not the file system on it) is read-only.
    pub read_only: bool,
}

impl Lab {
    /// The host's processes.
    pub fn processes(&self) -> Vec<Process> {
        self.host.processes().iter().filter_map(|(pid, _)| self.process(*pid)).collect()
    }

    /// A process of the host, if it is there.
    pub fn process(&self, pid: u32) -> Option<Process> {
        let (parent, zombie) = self.state(pid)?;
        let args = fs::read(self.proc(pid, "cmdline")).unwrap_or_default();
        let args =
            args.split(|byte| *byte == 0).map(|arg| String::from_utf8_lossy(arg).into_owned());
        let mut args: Vec<String> = args.collect();
        args.pop();
        Some(Process { pid, parent, zombie, args })
    }

    /// The parent of a process, and whether it is a zombie.
    fn state(&self, pid: u32) -> Option<(u32, bool)> {
        let stat = self.stat(pid);
        Some((stat.get(1)?.parse().ok()?, stat[0] == "Z"))
    }

    /// What its `stat` says behind the name, which may hold anything: the state, proc_pid_stat(5)'s field 3, comes
    /// first. Empty if the process is gone.
    fn stat(&self, pid: u32) -> Vec<String> {
        let stat = fs::read_to_string(self.proc(pid, "stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_whitespace().map(String::from).collect()
    }

    /// Whether a process is in this state, a letter.
    fn is_in_state(&self, pid: u32, state: &str) -> bool {
        self.stat(pid).first().is_some_and(|found| found == state)
    }

    /// The numbers of all processes, and of their parents. (Whoever asks for the arguments of a process that forks
    /// without end waits long: the kernel locks its memory for both.)
    pub(crate) fn family(&self) -> BTreeMap<u32, u32> {
        let entries = fs::read_dir(self.host.path("/proc")).into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.filter_map(|pid| Some((pid, self.state(pid)?.0))).collect()
    }

    /// How many threads these processes have.
    pub(crate) fn threads(&self, family: &BTreeMap<u32, u32>) -> usize {
        let threads =
            |pid: &u32| fs::read_dir(self.proc(*pid, "task")).map_or(1, |tasks| tasks.count());
        family.keys().map(threads).sum()
    }

    /// Whether a process is there, and has not ended.
    pub fn lives(&self, pid: u32) -> bool {
        self.process(pid).is_some_and(|process| !process.zombie)
    }

    /// Whether there is a process with these arguments that has not ended.
    pub fn runs(&self, args: &[&str]) -> bool {
        self.processes().iter().any(|process| process.args == args && !process.zombie)
    }

    /// Where the stack of a process begins: somewhere else after each execve(2). (proc_pid_stat(5): field 28.)
    pub(crate) fn stack(&self, pid: u32) -> Option<u64> {
        self.stat(pid).get(25)?.parse().ok().filter(|place| *place != 0)
    }

    /// A file of a process, as the host's /proc has it.
    pub fn proc(&self, pid: u32, file: &str) -> PathBuf {
        self.host.path(&format!("/proc/{pid}/{file}"))
    }

    /// The namespace of a process: `uts:[4026531838]`. Empty if the process is gone.
    pub fn namespace(&self, pid: u32, kind: &str) -> String {
        let link = fs::read_link(self.proc(pid, &format!("ns/{kind}"))).unwrap_or_default();
        link.to_string_lossy().into_owned()
    }

    /// The numbers of a process in the PID namespaces that it is in, the innermost last.
    pub fn numbers(&self, pid: u32) -> Vec<u32> {
        let status = fs::read_to_string(self.proc(pid, "status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        line.split_whitespace().filter_map(|number| number.parse().ok()).collect()
    }

    /// What is mounted on the host, in the order of mounting.
    pub fn mounts(&self) -> Vec<Mount> {
        // As the machine sees it: the host's own /proc may be covered.
        mounts(
            &fs::read_to_string(format!("/proc/{}/mountinfo", self.host.pid())).unwrap_or_default(),
        )
    }

    /// Whether nothing can be written to the file system that the host's /dev is on.
    pub(crate) fn is_dev_read_only(&self) -> bool {
        let mounts = format!("/proc/{}/mountinfo", self.host.pid());
        let mounts = fs::read_to_string(mounts).unwrap_or_default();
        let dev = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/dev"));
        let options = dev.and_then(|line| line.rsplit(' ').next()).unwrap_or_default();
        options.split(',').next() == Some("ro")
    }

    /// What is mounted for a process.
    pub fn mounts_of(&self, pid: u32) -> Vec<Mount> {
        mounts(&fs::read_to_string(self.proc(pid, "mountinfo")).unwrap_or_default())
    }

    /// The mounts that the host has now and did not have before.
    pub fn mounts_since(&self, before: &[Mount]) -> Vec<Mount> {
        let mut rest = before.to_vec();
        let same = |one: &Mount, other: &Mount| one.point == other.point && one.kind == other.kind;
        let is_new = |mount: &Mount| match rest.iter().position(|known| same(known, mount)) {
            Some(place) => {
                rest.swap_remove(place);
                false
            }
            None => true,
        };
        self.mounts().into_iter().filter(is_new).collect()
    }

    /// What is mounted on the host since then and does not go away.
    pub fn mounts_left(&self, before: &[Mount]) -> Vec<Mount> {
        let mut left = Vec::new();
        self.wait_until(|| {
            left = self.mounts_since(before);
            left.is_empty()
        });
        left
    }

    /// Whether something is mounted on top of a process' root.
    pub fn is_stacked(&self, pid: u32) -> bool {
        self.mounts_of(pid).iter().filter(|mount| mount.point == "/").count() > 1
    }

    /// Whether the host has mounts that it had not in the beginning.
    pub(crate) fn has_new_mounts(&self) -> bool {
        !self.mounts_since(&self.mounts).is_empty()
    }

    /// The mounts that the host had in the beginning, and has not any more.
    pub(crate) fn lost_mounts(&self) -> Vec<Mount> {
        let mut rest = self.mounts();
        let is_lost =
            |mount: &&Mount| match rest.iter().position(|other| other.point == mount.point) {
                Some(place) => {
                    rest.swap_remove(place);
                    false
                }
                None => true,
            };
        self.mounts.iter().filter(is_lost).cloned().collect()
    }

    /// Whether some of its mounts, which were shared, are private now.
    pub(crate) fn has_private_mounts(&self) -> bool {
        self.mounts().iter().any(|mount| {
            !mount.shared && self.mounts.iter().any(|old| old.point == mount.point && old.shared)
        })
    }

    /// Whether a process was stopped, and nobody has continued it.
    pub(crate) fn is_stopped(&self, pid: u32) -> bool {
        self.is_in_state(pid, "T")
    }

    /// Whether a process waits for something.
    pub(crate) fn is_waiting(&self, pid: u32) -> bool {
        self.is_in_state(pid, "S")
    }

    /// Whether a process is in the foreground of its terminal, or has none. (proc_pid_stat(5): fields 5 and 8.)
    pub(crate) fn is_foreground(&self, pid: u32) -> bool {
        let stat = self.stat(pid);
        stat.get(5).is_none_or(|foreground| *foreground == "-1" || *foreground == stat[2])
    }

    /// Whether a process has a controlling terminal. (proc_pid_stat(5): field 7.)
    pub(crate) fn is_at_terminal(&self, pid: u32) -> bool {
        self.stat(pid).get(4).is_some_and(|terminal| terminal != "0")
    }

    /// A set of signals of a process: `SigBlk`, `SigIgn`, `SigCgt`, or `ShdPnd`, as proc_pid_status(5) calls them.
    pub fn signals(&self, pid: u32, which: &str) -> Vec<i32> {
        let status = fs::read_to_string(self.proc(pid, "status")).unwrap_or_default();
        signals(&status, which)
    }
}

/// The mounts in a table such as /proc/self/mountinfo.
fn mounts(table: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (left, right) = line.split_once(" - ").unwrap_or((line, ""));
        Mount {
            point: left.split(' ').nth(4).unwrap_or_default().to_string(),
            kind: right.split(' ').next().unwrap_or_default().to_string(),
            shared: left.contains(" shared:"),
            read_only: left.split(' ').nth(5).is_some_and(|flags| flags.starts_with("ro")),
        }
    };
    table.lines().map(mount).collect()
}

/// A set of signals, of what /proc/PID/status says.
pub fn signals(status: &str, which: &str) -> Vec<i32> {
    let line = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':'));
    let bits = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
    (1..=64).filter(|signal| bits >> (signal - 1) & 1 == 1).collect()
}

/// The mount points, as a list to read.
pub fn points(mounts: &[Mount]) -> String {
    mounts.iter().map(|mount| mount.point.as_str()).collect::<Vec<_>>().join(", ")
}
