//! Limits: what the files of a cgroup say. cgroups(7) has the names of both versions.

use std::fs;
use std::path::{Path, PathBuf};

use crate::machine::Machine;
use crate::proc::{Member, Mount};

/// The three controllers that the workshop uses.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Controller {
    Pids,
    Memory,
    Cpu,
}

impl Controller {
    pub const ALL: [Controller; 3] = [Controller::Pids, Controller::Memory, Controller::Cpu];

    pub fn name(self) -> &'static str {
        match self {
            Controller::Pids => "pids",
            Controller::Memory => "memory",
            Controller::Cpu => "cpu",
        }
    }
}

/// A limit, and how it goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limit {
    pub controller: Controller,
    /// Processes, bytes, or thousandths of one CPU's time.
    pub most: u64,
    /// In use now; of the CPU's time the files do not say it.
    pub now: Option<u64>,
    /// The most that was ever in use at the same time, where the kernel keeps it: what is over in no time leaves a
    /// trace.
    pub peak: Option<u64>,
    /// How often somebody wanted more.
    pub met: u64,
    /// How many processes the kernel has killed for it.
    pub killed: u64,
    /// The cgroup's folder.
    pub folder: PathBuf,
}

/// The limits that hold for who is in the cgroups `members`, and not for who is in `outside`: those of the
/// innermost cgroup that has one. None if the cgroups cannot be seen from here.
pub fn limits(
    machine: &Machine,
    mounts: &[Mount],
    members: &[Member],
    outside: &[Member],
) -> Option<Vec<Limit>> {
    let mut limits = Vec::new();
    for controller in Controller::ALL {
        let folders = folders(machine, mounts, controller, members, outside)?;
        limits.extend(folders.iter().find_map(|folder| read(controller, folder)));
    }
    Some(limits)
}

/// Whether somebody is in another cgroup than `outside`, be it one without limits.
pub fn moved(members: &[Member], outside: &[Member]) -> bool {
    let path = |list: &[Member], controller| member(list, controller).map(|one| one.path.clone());
    Controller::ALL.iter().any(|one| path(members, *one) != path(outside, *one))
}

/// The line of a controller: its own on v1, that without names on v2.
fn member(members: &[Member], controller: Controller) -> Option<&Member> {
    let named = |one: &&Member| one.controllers.iter().any(|name| name == controller.name());
    members.iter().find(named).or(members.iter().find(|one| one.controllers.is_empty()))
}

/// The folders of a cgroup and of those around it, from the inside, as far as `outside` is not in them as well. None if
/// there is no way to them.
fn folders(
    machine: &Machine,
    mounts: &[Mount],
    controller: Controller,
    members: &[Member],
    outside: &[Member],
) -> Option<Vec<PathBuf>> {
    // A kernel without the controller has no limits of this kind.
    let Some(member) = member(members, controller) else { return Some(Vec::new()) };
    let outside = self::member(outside, controller).map_or("/", |one| &one.path);
    if member.path == outside {
        return Some(Vec::new());
    }
    // In a cgroup namespace, what is not below its root is said from there; no folder leads to it.
    if member.path.starts_with("/..") {
        return None;
    }
    let carries = |mount: &&Mount| {
        if member.controllers.is_empty() {
            mount.kind == "cgroup2"
        } else {
            mount.kind == "cgroup" && mount.options.iter().any(|name| name == controller.name())
        }
    };
    // What is mounted last at a place lies on top there. Only a part of the tree may be mounted.
    let mounted = mounts.iter().rev().filter(carries);
    let mut places = mounted.filter_map(|mount| {
        let rest = Path::new(&member.path).strip_prefix(&mount.top).ok()?;
        Some((mount, rest))
    });
    let (mount, mut rest) = places.next()?;
    let mut folders = Vec::new();
    while rest != Path::new("") {
        if Path::new(outside).starts_with(Path::new(&mount.top).join(rest)) {
            break;
        }
        let folder = machine.path(&Path::new(&mount.place).join(rest));
        if folders.is_empty() && !folder.is_dir() {
            return None;
        }
        folders.push(folder);
        rest = rest.parent().unwrap_or(Path::new(""));
    }
    Some(folders)
}

fn read(controller: Controller, folder: &Path) -> Option<Limit> {
    let text = |file: &str| fs::read_to_string(folder.join(file)).ok();
    let number = |file: &str| text(file)?.trim().parse::<u64>().ok();
    // A line of a file of counters: `max 12`.
    let count = |file: &str, name: &str| {
        let text = text(file)?;
        let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
        pairs.find(|(word, _)| *word == name)?.1.trim().parse::<u64>().ok()
    };
    let (most, now, met);
    let (mut peak, mut killed) = (None, None);
    match controller {
        Controller::Pids => {
            most = number("pids.max")?;
            now = number("pids.current");
            peak = number("pids.peak");
            met = count("pids.events", "max");
        }
        Controller::Memory => {
            const NONE: u64 = 1 << 60; // what v1 has for no limit
            most = number("memory.max").or(number("memory.limit_in_bytes"))?;
            if most >= NONE {
                return None;
            }
            now = number("memory.current").or(number("memory.usage_in_bytes"));
            peak = number("memory.peak").or(number("memory.max_usage_in_bytes"));
            met = count("memory.events", "max").or(number("memory.failcnt"));
            killed = count("memory.events", "oom_kill").or(count("memory.oom_control", "oom_kill"));
        }
        Controller::Cpu => {
            let (quota, period) = match text("cpu.max") {
                Some(text) => {
                    let (quota, period) = text.trim().split_once(' ')?;
                    (quota.parse::<u64>().ok()?, period.parse::<u64>().ok()?)
                }
                None => (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?),
            };
            most = quota * 1000 / period.max(1);
            now = None;
            met = count("cpu.stat", "nr_throttled");
        }
    }
    let (met, killed) = (met.unwrap_or(0), killed.unwrap_or(0));
    Some(Limit { controller, most, now, peak, met, killed, folder: folder.to_path_buf() })
}
