//! What is in the namespaces that are shown: hostname, mounts, interfaces, users; and the limits.

use std::path::Path;
use std::time::Duration;

use crate::cgroup::Limit;
use crate::inside::Peeks;
use crate::machine::{Kind, Machine, Place, Snapshot};
use crate::model::{Cell, Container, Letter, Picture};
use crate::proc::{Member, Mount, Range};
use crate::{cgroup, inside, proc};

/// What is in a namespace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value {
    /// It is the host's.
    Shared,
    /// It is that of another container.
    Of(Letter),
    Text(String),
    /// Names, of which as many are shown as there is room for.
    Names(Vec<String>),
    /// May not be seen.
    Closed,
}

/// By `Kind as usize`, what is in the namespace; for Cgroup and Time nothing that is shown.
pub type Contents = [Value; Kind::ALL.len()];

/// A container's limits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    pub letter: Letter,
    /// None if they cannot be seen.
    pub limits: Option<Vec<Limit>>,
    /// The time that its processes have used, in ticks of the clock (of which a second has a hundred).
    pub ticks: u64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Details {
    pub host: Contents,
    pub containers: Vec<(Letter, Contents)>,
    pub limits: Vec<Limits>,
}

/// Reads what the picture's containers are made of.
pub fn details(
    machine: &Machine,
    snapshot: &Snapshot,
    picture: &Picture,
    peeks: &mut Peeks,
    now: Duration,
) -> Details {
    let mounts = machine.mounts(snapshot.me);
    let host = host(machine, picture, &mounts);
    let reader = Reader { machine, snapshot, mounts: &mounts };
    let containers = picture.containers.iter();
    let containers = containers
        .map(|container| (container.letter, reader.contents(container, peeks, now)))
        .collect();
    let limits = picture.containers.iter().map(|container| reader.limits(container)).collect();
    Details { host, containers, limits }
}

fn host(machine: &Machine, picture: &Picture, mounts: &[Mount]) -> Contents {
    let here = inside::here(&machine.path(Path::new("/"))).ok();
    let me = machine.me();
    Kind::ALL.map(|kind| match kind {
        Kind::Uts => text(here.as_ref().map(|here| &here.hostname)),
        Kind::Pid if picture.hidden => Value::Closed,
        Kind::Pid => Value::Text(picture.processes.to_string()),
        Kind::Root => Value::Text("/".into()),
        Kind::Mnt => Value::Text(mounts.len().to_string()),
        Kind::Ipc => text(here.as_ref().map(|here| here.queues)),
        Kind::Net => interfaces(machine, me),
        Kind::User => users(machine, me),
        Kind::Cgroup | Kind::Time => Value::Shared,
    })
}

fn text(what: Option<impl ToString>) -> Value {
    what.map_or(Value::Closed, |what| Value::Text(what.to_string()))
}

fn interfaces(machine: &Machine, pid: i32) -> Value {
    match machine.read(pid, "net/dev") {
        Ok(text) => Value::Names(proc::interfaces(&text)),
        Err(_) => Value::Closed,
    }
}

fn users(machine: &Machine, pid: i32) -> Value {
    text(machine.read(pid, "uid_map").ok().map(|ranges| map(&proc::id_map(&ranges))))
}

/// A map of users, as outside=inside.
fn map(ranges: &[Range]) -> String {
    let range = |range: &Range| match *range {
        Range { inside: 0, outside: 0, count: u32::MAX } => "all users".to_string(),
        Range { inside, outside, count: 1 } => format!("{outside}={inside}"),
        Range { inside, outside, .. } => format!("{outside}…={inside}…"),
    };
    if ranges.is_empty() {
        return "nobody".into();
    }
    let only = if let [Range { count: 1, .. }] = ranges { "only " } else { "" };
    only.to_string() + &ranges.iter().map(range).collect::<Vec<_>>().join(", ")
}

struct Reader<'a> {
    machine: &'a Machine,
    snapshot: &'a Snapshot,
    /// What `look` itself sees.
    mounts: &'a [Mount],
}

impl Reader<'_> {
    fn contents(&self, container: &Container, peeks: &mut Peeks, now: Duration) -> Contents {
        let spot = |kind: Kind| container.spots[kind as usize];
        let inside = |peeks: &mut Peeks, pid: i32| {
            let process = &self.snapshot.processes[&pid];
            let own_user = !self.snapshot.is_host(Kind::User, process.place(Kind::User));
            peeks.ask(pid, process, own_user, now)
        };
        Kind::ALL.map(|kind| {
            let Some(pid) = spot(kind) else {
                return match container.instead[kind as usize] {
                    Cell::Own(letter) => Value::Of(letter),
                    Cell::Closed => Value::Closed,
                    _ => Value::Shared,
                };
            };
            match kind {
                Kind::Uts => text(inside(peeks, pid).map(|inside| inside.hostname)),
                Kind::Pid => Value::Text(container.processes.to_string()),
                Kind::Root => Value::Text(self.root(pid)),
                Kind::Mnt => text(Some(self.machine.mounts(pid).len()).filter(|count| *count > 0)),
                Kind::Ipc => text(inside(peeks, pid).map(|inside| inside.queues)),
                Kind::Net => interfaces(self.machine, pid),
                Kind::User => users(self.machine, pid),
                Kind::Cgroup | Kind::Time => Value::Shared,
            }
        })
    }

    /// Where a process's root directory is found from outside. Where no path leads to it, what it is on.
    fn root(&self, pid: i32) -> String {
        let link = self.machine.path(Path::new(&format!("/proc/{pid}/root")));
        match std::fs::read_link(&link) {
            Ok(path) if path != Path::new("/") => return path.to_string_lossy().into_owned(),
            _ => {}
        }
        let mounts = self.machine.mounts(pid);
        let Some(top) = mounts.iter().rev().find(|mount| mount.place == "/") else {
            return "?".into();
        };
        let Place::In(wanted) = self.snapshot.processes[&pid].place(Kind::Root) else {
            return "?".into();
        };
        // The same folder of the same file system, where we have that mounted.
        let same = self.mounts.iter().rev().filter(|mount| mount.device == top.device);
        let mut paths = same.filter_map(|mount| {
            let rest = Path::new(&top.top).strip_prefix(&mount.top).ok()?;
            Some(Path::new(&mount.place).join(rest))
        });
        let found = paths.find(|path| self.machine.directory(path) == Some(wanted));
        found.map_or(format!("({})", top.kind), |path| path.to_string_lossy().into_owned())
    }

    fn limits(&self, container: &Container) -> Limits {
        let members = |pid: i32| -> Vec<Member> {
            let text = self.machine.read(pid, "cgroup").unwrap_or_default();
            proc::members(&text)
        };
        let outside = container.outside.map(members).filter(|list| !list.is_empty());
        let outside = outside.unwrap_or_else(|| members(self.machine.me()));
        let processes = &self.snapshot.processes;
        let moved = container.members.iter().find_map(|pid| {
            let members = &processes.get(pid)?.members;
            cgroup::moved(members, &outside).then_some(members)
        });
        let Some(moved) = moved else {
            let limits = Some(Vec::new());
            return Limits { letter: container.letter, limits, ticks: 0 };
        };
        let limits = cgroup::limits(self.machine, self.mounts, moved, &outside);
        let together = processes.values().filter(|one| !one.ended && one.members == *moved);
        let ticks = together.map(|one| one.stat.ticks).sum();
        Limits { letter: container.letter, limits, ticks }
    }
}
