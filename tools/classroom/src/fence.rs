//! The wall around a classroom host. It holds without anybody watching.
//!
//! What runs on a host may be a learner's half-finished program: one that forks, or takes memory, without end, or
//! signals whoever it can reach. So all of it is in a session of its own, and
//!
//! - of root: in a cgroup with a limit on processes and memory, which also makes it weigh, all together, as much as one
//!   process of the machine;
//! - of an ordinary user: under resource limits. In the host's user namespace, RLIMIT_NPROC counts the processes there
//!   and in
//!   those below it, and nobody else's (user_namespaces(7), getrlimit(2)). The kernel does not apply it to root.
//!
//! The host's files are a tmpfs with a size: see [`Host`](crate::Host).

use std::fs;
use std::fs::DirEntry;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::geteuid;

use crate::root::{is_root, quoted};
use crate::{Error, Result, undisturbed};

/// How many processes there may be on a host, unless its maker asks for more.
pub const PROCESSES: u32 = 400;
/// How much memory they may use: all together in a cgroup, each without one.
pub const MEMORY: u64 = 1 << 30;
/// How much may be written to the host's files, and how many of them may be made.
pub const DISK: u64 = 256 << 20;
/// See [`DISK`].
pub const FILES: u64 = 20_000;

/// The controllers that the steps use: on version 1 each has a tree.
pub(crate) const TREES: [&str; 3] = ["pids", "memory", "cpu"];
/// Where the trees are.
const TOP: &str = "/sys/fs/cgroup";
/// What a tree of version 2 has to be told.
const CONTROLLERS: &str = "+cpu +memory +pids";
const SUBTREE: &str = "cgroup.subtree_control";
/// Below the cgroup with the limits is the one that is the root on the host: nobody there can write to the limits.
const ROOT: &str = "classroom-root";
/// On version 2 a cgroup with others below it has no processes itself: the host's own are in this one.
pub(crate) const LEAF: &str = "host";

/// The wall around one host.
pub struct Fence {
    pub(crate) wall: Wall,
    processes: u32,
}

/// What it is made of.
pub(crate) enum Wall {
    Cgroup(Tree),
    Limits,
    /// Nothing, for this reason.
    Missing(Error),
}

/// A cgroup of the host's own: a folder in each tree of version 1, or one in that of version 2.
pub(crate) struct Tree {
    pub v2: bool,
    /// Those with the limits.
    folders: Vec<PathBuf>,
}

/// What has hit the wall so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Hits {
    /// A process could not be made.
    pub processes: bool,
    /// A process was killed, for memory.
    pub memory: bool,
}

impl Fence {
    /// Makes a wall. Where none can be had, the fence says so: it is up to its user to go on without.
    pub(crate) fn new(processes: u32) -> Fence {
        let wall = match is_root() {
            true => Tree::new(processes).map_or_else(Wall::Missing, Wall::Cgroup),
            false => Wall::Limits,
        };
        Fence { wall, processes }
    }

    /// Why there is none.
    pub fn missing(&self) -> Option<&Error> {
        if let Wall::Missing(why) = &self.wall { Some(why) } else { None }
    }

    /// A command that runs what is appended to it behind the wall, and in a session of its own.
    pub(crate) fn command(&self) -> Command {
        let mut command = undisturbed("setsid");
        match &self.wall {
            Wall::Cgroup(tree) => {
                _ = command.args(["sh", "-c", &(join(&tree.leaves()) + "exec \"$@\""), "sh"])
            }
            Wall::Limits => _ = command.args(self.limits()),
            Wall::Missing(_) => {}
        }
        command
    }

    /// What to put in front of the command that makes the host's namespaces, to have it behind the wall.
    ///
    /// The host's cgroup is to be the root of its cgroup namespace: so it is joined before that is made.
    pub(crate) fn outside(&self) -> Vec<String> {
        let Wall::Cgroup(tree) = &self.wall else { return Vec::new() };
        let mut inner = String::new();
        if tree.v2 {
            inner += &join(&tree.leaves());
            for root in tree.roots() {
                inner += &format!("echo '{CONTROLLERS}' >{} && ", quoted_file(&root, SUBTREE));
            }
        }
        inner += "exec \"$@\"";
        let outer = join(&tree.roots()) + "exec unshare --cgroup sh -c \"$@\"";
        ["sh", "-c", &outer, "sh", &inner, "sh"].map(String::from).to_vec()
    }

    /// What to put in front of the first command in them. (Set earlier, the limit would count what its user has running
    /// elsewhere.)
    pub(crate) fn inside(&self) -> Vec<String> {
        if let Wall::Limits = self.wall { self.limits() } else { Vec::new() }
    }

    fn limits(&self) -> Vec<String> {
        limits(self.processes.into())
    }

    /// What has hit it so far. (For an ordinary user the kernel does not count that.)
    pub fn hits(&self) -> Hits {
        let Wall::Cgroup(tree) = &self.wall else { return Hits::default() };
        // Where it is counted depends on the kernel: in the cgroup with the limit, or in the one that met it.
        let counted = |file: &str, name: &str| {
            let folders = tree.folders.iter().cloned().chain(tree.roots()).chain(tree.leaves());
            folders.filter_map(|folder| fs::read_to_string(folder.join(file)).ok()).any(|text| {
                let mut lines = text.lines().filter_map(|line| line.split_once(' '));
                lines.any(|(key, value)| key == name && value != "0")
            })
        };
        // That one may have a limit of its own by now.
        let peak = tree.folders.iter().find_map(|folder| {
            fs::read_to_string(folder.join("pids.peak")).ok()?.trim().parse().ok()
        });
        Hits {
            processes: counted("pids.events", "max")
                && peak.is_none_or(|peak: u32| peak + 1 >= self.processes),
            memory: counted("memory.events.local", "oom")
                || counted("memory.oom_control", "oom_kill"),
        }
    }

    /// The cgroups of the machine that it is made of. They go when the host is gone.
    pub fn folders(&self) -> &[PathBuf] {
        if let Wall::Cgroup(tree) = &self.wall { &tree.folders } else { &[] }
    }

    /// Where on the machine the roots of the host's trees are, and where they are to be mounted.
    pub(crate) fn mounts(&self) -> Vec<(PathBuf, PathBuf)> {
        let Wall::Cgroup(tree) = &self.wall else { return Vec::new() };
        let place = |folder: &PathBuf| folder.parent().unwrap_or(folder).to_path_buf();
        tree.roots().into_iter().zip(tree.folders.iter().map(place)).collect()
    }
}

impl Tree {
    /// Makes the folders, and sets their limits.
    fn new(processes: u32) -> Result<Tree> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let top = Path::new(TOP);
        let v2 = top.join("cgroup.controllers").exists();
        let trees: &[&str] = if v2 { &[""] } else { &TREES };
        // A test in another PID namespace may have our number, and the same cgroups.
        let name = loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("classroom-{}-{count}", std::process::id());
            if !trees.iter().any(|tree| top.join(tree).join(&name).exists()) {
                break name;
            }
        };
        let missing = |what: String| {
            move |err: std::io::Error| {
                Error::Missing(format!("cannot {what}: {err} (see cgroups(7))"))
            }
        };
        let set = |folder: &Path, file: &str, value: &str| {
            let file = folder.join(file);
            fs::write(&file, value).map_err(missing(format!("write to {}", file.display())))
        };
        // Half of one is removed again.
        let mut tree = Tree { v2, folders: Vec::new() };
        let made = trees.iter().try_for_each(|name_of_tree| {
            let folder = top.join(name_of_tree).join(&name);
            if !top.join(name_of_tree).join("cgroup.procs").exists() {
                let tree = top.join(name_of_tree);
                return Err(Error::Missing(format!("there is no cgroup tree {}", tree.display())));
            }
            fs::create_dir(&folder)
                .map_err(missing(format!("make the cgroup {}", folder.display())))?;
            tree.folders.push(folder.clone());
            if v2 {
                set(top, SUBTREE, CONTROLLERS)?;
                set(&folder, SUBTREE, CONTROLLERS)?;
            }
            let inside = folder.join(ROOT).join(if v2 { LEAF } else { "" });
            fs::create_dir_all(&inside)
                .map_err(missing(format!("make the cgroup {}", inside.display())))?;
            for (controller, file, value) in [
                ("pids", "pids.max", processes.into()),
                ("memory", if v2 { "memory.max" } else { "memory.limit_in_bytes" }, MEMORY),
            ] {
                if v2 || *name_of_tree == controller {
                    set(&folder, file, &value.to_string())?;
                }
            }
            // The two limit memory with swap. Not every kernel has them.
            _ = fs::write(folder.join("memory.swap.max"), "0");
            _ = fs::write(folder.join("memory.memsw.limit_in_bytes"), MEMORY.to_string());
            Ok(())
        });
        if made.is_err() {
            for folder in [tree.leaves(), tree.roots(), tree.folders.clone()].concat() {
                _ = fs::remove_dir(folder);
            }
        }
        made.map(|()| tree)
    }

    /// The folders that are the roots of the trees on the host.
    pub fn roots(&self) -> Vec<PathBuf> {
        self.folders.iter().map(|folder| folder.join(ROOT)).collect()
    }

    /// The folders that its processes are in.
    fn leaves(&self) -> Vec<PathBuf> {
        let roots = self.roots().into_iter();
        roots.map(|root| if self.v2 { root.join(LEAF) } else { root }).collect()
    }
}

/// A command that runs what is appended to it on this machine, for an ordinary user: with room for [`PROCESSES`] more
/// than he has, and in a session of its own.
pub fn on_this_machine() -> Command {
    let me = geteuid().as_raw();
    let mine = |entry: &DirEntry| entry.metadata().is_ok_and(|data| data.uid() == me);
    let threads =
        |entry: DirEntry| fs::read_dir(entry.path().join("task")).map_or(0, Iterator::count);
    let all = fs::read_dir("/proc").into_iter().flatten().flatten().filter(mine);
    let running: usize = all.map(threads).sum();
    let mut command = Command::new("setsid");
    command.args(limits(running as u64 + u64::from(PROCESSES)));
    command
}

/// prlimit(1) with these limits. (Nobody may raise one that is lower already.)
fn limits(processes: u64) -> Vec<String> {
    let lower = |kind, wanted: u64| getrlimit(kind).map_or(wanted, |(_, hard)| wanted.min(hard));
    let processes = lower(Resource::RLIMIT_NPROC, processes);
    let memory = lower(Resource::RLIMIT_DATA, MEMORY);
    let words = ["prlimit", "--core=0"].map(String::from).into_iter();
    words.chain([format!("--nproc={processes}"), format!("--data={memory}")]).collect()
}

/// What a shell does to join cgroups. Whatever comes after it does not run if that fails.
fn join(folders: &[PathBuf]) -> String {
    folders.iter().map(|it| format!("echo 0 >{} && ", quoted_file(it, "cgroup.procs"))).collect()
}

fn quoted_file(folder: &Path, file: &str) -> String {
    quoted(&folder.join(file).to_string_lossy())
}
