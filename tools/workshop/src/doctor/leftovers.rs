//! What earlier runs have left behind, who may still use it, and how it is removed.
//!
//! What is removed here is looked at first, and "may not look" is no "there is nothing": an ordinary user is not told
//! which root directory a process of root's has.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use classroom::root::{become_root, typed};

use super::{Machine, Mount, Mounts, holding};
use crate::say;

/// What is left of earlier runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Leftover {
    /// A mount below the root filesystem.
    Mount(PathBuf),
    /// The root filesystem, mounted over the root directory.
    Lid,
    /// An empty cgroup.
    Cgroup(PathBuf),
    /// A folder in which a classroom host was to be put together, by a test that was killed.
    Place(PathBuf),
    /// A new root filesystem that was not finished.
    Half(PathBuf),
}

/// Whether a container runs in the root filesystem.
#[derive(Debug, PartialEq)]
pub enum Use {
    /// None does.
    Free,
    /// This process does.
    By(String),
    /// There are processes that this user may not look into.
    Unknown,
}

/// What there is.
pub struct Left {
    /// What nobody uses; mounts only if [`Use::Free`] or [`Use::Unknown`]. The last mount comes first.
    pub found: Vec<Leftover>,
    /// Who uses the mounts.
    pub used: Use,
    /// How many cgroups are empty, but too young: somebody may be about to join.
    pub young: usize,
}

impl Left {
    /// Whether only root can tell if some of it is in use.
    pub fn is_uncertain(&self) -> bool {
        self.used == Use::Unknown && self.found.iter().any(Leftover::is_mount)
    }

    /// What to print of it, if there is something.
    pub fn lines(&self, machine: &Machine) -> Vec<String> {
        // A line with umount in it would be typed, whatever stands beside it.
        let shown = |one: &&Leftover| !(self.is_uncertain() && one.is_mount());
        let commands = self.found.iter().filter(shown).map(|one| one.shown(machine));
        let mut lines: Vec<String> = commands.take(9).collect();
        if lines.len() > 8 {
            lines[8] = "…".into();
        }
        lines
    }
}

/// How step 10 names its cgroups, and the tests theirs: these are followed by the number of the process that they
/// belong to.
const STEP_10: &str = "step10-";
const OURS: [&str; 2] = ["classroom-", "hold-"];

/// What a place of a classroom host has in it: see `classroom::host`.
const FILES: [&str; 3] = ["fstab", "init", "fifo"];

/// Takes the highest lid off: with all that is mounted in it, which no path leads to (-l). Not by the path that
/// realpath(3) makes of `/..`, which is the root's (-c). And nothing else than the root filesystem, whoever types it,
/// and when.
const TAKE_OFF: &str = "[ /.. -ef \"$1\" ] && umount -c -l /..";

impl Leftover {
    fn is_mount(&self) -> bool {
        matches!(self, Leftover::Mount(_) | Leftover::Lid)
    }

    /// The command that removes it, as root or as its owner.
    fn command(&self, machine: &Machine) -> Command {
        let (program, args, path): (_, &[&str], _) = match self {
            // Not --lazy: the kernel says if it is in use.
            Leftover::Mount(path) => ("umount", &["--"], path),
            Leftover::Lid => ("sh", &["-c", TAKE_OFF, "sh"], &machine.rootfs),
            // Also what step 10 has left in a cgroup of a test's; rmdir takes only what is empty.
            Leftover::Cgroup(path) => ("find", &[], path),
            Leftover::Place(path) => ("rm", &["-r", "--one-file-system", "--"], path),
            Leftover::Half(_) => {
                let mut script = Command::new(machine.repository.join("rootfs-fetch.sh"));
                script.arg("--clean").env("ROOTFS", &machine.rootfs);
                return script;
            }
        };
        let mut command = Command::new(program);
        command.args(args).arg(path);
        if let Leftover::Cgroup(_) = self {
            command.args(["-depth", "-type", "d", "-exec", "rmdir", "--", "{}", "+"]);
        }
        command
    }

    /// Whether it takes root to remove it.
    fn needs_root(&self, machine: &Machine) -> bool {
        machine.uid != 0
            && match self {
                Leftover::Mount(_) | Leftover::Lid | Leftover::Cgroup(_) => true,
                Leftover::Place(path) => {
                    fs::metadata(machine.file(path)).is_ok_and(|data| data.uid() != machine.uid)
                }
                Leftover::Half(_) => false,
            }
    }

    /// The command as it would be typed.
    fn shown(&self, machine: &Machine) -> String {
        let sudo = if self.needs_root(machine) { "sudo " } else { "" };
        format!("{sudo}{}", typed(&self.command(machine)))
    }
}

/// Looks for what earlier runs have left behind.
pub fn leftovers(machine: &Machine) -> Left {
    let used = in_use(machine);
    let mut found = Vec::new();
    if !matches!(used, Use::By(_)) {
        found.extend(mounts(machine).into_iter().map(Leftover::Mount));
        found.extend(lids(machine));
    }
    let (old, young) = cgroups(machine);
    found.extend(old.into_iter().map(Leftover::Cgroup));
    found.extend(places(machine).into_iter().map(Leftover::Place));
    found.extend(half(machine).map(Leftover::Half));
    Left { found, used, young }
}

/// Whether a process has the root filesystem, or a folder in it, as its root; also where its mount namespace calls that
/// root `/`: its mounts may be shared with ours.
fn in_use(machine: &Machine) -> Use {
    // An ordinary user never knows: what is not shown may even be hidden (proc(5), hidepid).
    let mut used = if machine.uid == 0 { Use::Free } else { Use::Unknown };
    for entry in fs::read_dir(machine.file("/proc")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        if is_same(&entry.path().join("root"), &machine.file(&machine.rootfs)) {
            return Use::By(name);
        }
        match fs::read_link(entry.path().join("root")) {
            Ok(root) if root.starts_with(&machine.rootfs) => return Use::By(name),
            // Also root's, in a container: it may not look into everybody.
            Err(err) if err.kind() == ErrorKind::PermissionDenied => used = Use::Unknown,
            _ => {}
        }
    }
    used
}

fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path| fs::metadata(path).map(|data| (data.dev(), data.ino())).ok();
    identity(one).is_some() && identity(one) == identity(other)
}

/// The mounts below the root filesystem, the last one first.
fn mounts(machine: &Machine) -> Vec<PathBuf> {
    let mounts = machine.mounts();
    let mut left = Vec::new();
    for (place, mount) in mounts.iter().enumerate().rev() {
        let below = mount.point.starts_with(&machine.rootfs);
        // What is mounted on the folder itself may be the root filesystem (provision.sh does that where the
        // repository is on a shared folder), unless it only shows the folder once more.
        if below && (mount.point != machine.rootfs || repeats(mount, &mounts[..place])) {
            left.push(mount.point.clone());
        }
    }
    left
}

/// Whether a mount is a bind mount of a folder on itself.
fn repeats(mount: &Mount, before: &[Mount]) -> bool {
    holding(before, &mount.point).is_some_and(|under| under.shows(mount, &mount.point))
}

/// A lid for each time that the root filesystem was mounted over the root directory, and nothing else lies on it.
fn lids(machine: &Machine) -> Vec<Leftover> {
    let mounts = Mounts::of(machine);
    let ours = mounts.lids.iter().rev().take_while(|lid| mounts.shows(lid, &machine.rootfs));
    ours.map(|_| Leftover::Lid).collect()
}

/// The cgroups of containers and tests that are gone; and how many there are of which that cannot be told yet.
fn cgroups(machine: &Machine) -> (Vec<PathBuf>, usize) {
    let mut left = Vec::new();
    let mut young = 0;
    for folder in trees(machine) {
        let mut found: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(machine.file(&folder)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours = OURS.iter().any(|prefix| is_over(machine, &name, prefix));
            if !ours && !is_of_step_10(&name) {
                continue;
            }
            match empty_for(&entry.path()) {
                Some(time) if time >= machine.settled => found.push(folder.join(name)),
                Some(_) => young += 1,
                None => {}
            }
        }
        found.sort();
        left.extend(found);
    }
    (left, young)
}

/// The roots of the machine's cgroup trees: on version 1 many, also those that step 10 does not use (a test may).
fn trees(machine: &Machine) -> Vec<PathBuf> {
    let top = PathBuf::from("/sys/fs/cgroup");
    if machine.file(top.join("cgroup.controllers")).exists() {
        return vec![top];
    }
    let entries = fs::read_dir(machine.file(&top)).into_iter().flatten().flatten();
    // Links are other names: `cpu` for `cpu,cpuacct`.
    let trees = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut trees: Vec<PathBuf> = trees.map(|entry| top.join(entry.file_name())).collect();
    trees.sort();
    trees
}

/// Whether it is named as step 10 does it: `step10-4711-1700000000123456789`.
fn is_of_step_10(name: &str) -> bool {
    let numbers = name.strip_prefix(STEP_10).and_then(|rest| rest.split_once('-'));
    numbers.is_some_and(|(process, time)| {
        process.parse::<u32>().is_ok() && time.parse::<u128>().is_ok()
    })
}

/// How old the youngest of a cgroup and those below it is, if all are empty.
fn empty_for(cgroup: &Path) -> Option<Duration> {
    let procs = fs::read_to_string(cgroup.join("cgroup.procs")).ok()?;
    if !procs.trim().is_empty() {
        return None;
    }
    let mut youngest = age(cgroup).ok()?;
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            youngest = youngest.min(empty_for(&entry.path())?);
        }
    }
    Some(youngest)
}

/// The machine's own PID namespace: the kernel gives it this inode number (include/linux/proc_ns.h). In any other one
/// there are processes that nobody sees.
const ALL_PROCESSES: &str = "pid:[4026531836]";

/// Whether this is a name of ours, such as `classroom-4711-3`, of a process that is no more.
fn is_over(machine: &Machine, name: &str, prefix: &str) -> bool {
    let namespace = fs::read_link(machine.file("/proc/self/ns/pid"));
    if !namespace.is_ok_and(|namespace| namespace == Path::new(ALL_PROCESSES)) {
        return false;
    }
    let number = name.strip_prefix(prefix).and_then(|rest| rest.split('-').next());
    let number = number.filter(|number| number.parse::<u32>().is_ok());
    number.is_some_and(|number| !machine.file(Path::new("/proc").join(number)).exists())
}

fn age(path: &Path) -> io::Result<Duration> {
    Ok(fs::symlink_metadata(path)?.modified()?.elapsed().unwrap_or_default())
}

/// The folders of tests that were killed, with nothing in them but what a test has put there.
fn places(machine: &Machine) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(machine.file(&machine.temporary)).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        let known = |name: &str| FILES.contains(&name) || name == "root";
        let all_known = fs::read_dir(&path).is_ok_and(|mut inside| {
            inside.all(|one| one.is_ok_and(|one| known(&one.file_name().to_string_lossy())))
        });
        // The root was a mount in a namespace that is gone: here it is an empty folder.
        let empty = fs::read_dir(path.join("root")).map_or(true, |mut root| root.next().is_none());
        if is_over(machine, &name, "classroom-") && all_known && empty {
            found.push(machine.temporary.join(name));
        }
    }
    found.sort();
    found
}

/// What a rootfs-fetch.sh that was killed has left; the first of them, as one call of it removes all.
fn half(machine: &Machine) -> Option<PathBuf> {
    let (folder, name) = (machine.rootfs.parent()?, machine.rootfs.file_name()?);
    let prefix = format!(".{}.tmp.", name.to_string_lossy());
    let entries = fs::read_dir(machine.file(folder)).into_iter().flatten().flatten();
    // Of such a name there may be something of somebody's: the script writes this file first.
    let is_half = |name: &OsString| {
        machine.file(folder).join(name).join(".rootfs-fetch").is_file()
            && name.to_string_lossy().strip_prefix(&prefix).is_some_and(|rest| rest.len() == 6)
    };
    let mut found: Vec<OsString> = entries.map(|entry| entry.file_name()).filter(is_half).collect();
    found.sort();
    found.first().map(|name| folder.join(name))
}

/// Removes what is left over, and nothing else.
pub fn remove(machine: &Machine) -> ExitCode {
    let left = leftovers(machine);
    if let Use::By(process) = &left.used {
        say::note(&format!(
            "A container is running (process {process} has {} as its root directory): its mounts are left alone.",
            machine.rootfs.display()
        ));
    }
    if left.is_uncertain() {
        if machine.uid == 0 {
            say::error(&format!(
                "there are mounts below {}, and this root may not look into all processes: some may be of a container \
                 that is running, so nothing is removed. When you know that none runs any more:",
                machine.rootfs.display()
            ));
            for mount in left.found.iter().filter(|one| one.is_mount()) {
                say::note(&format!("  {}", mount.shown(machine)));
            }
            return ExitCode::FAILURE;
        }
        say::note("Only root can tell whether a container still uses what is mounted:");
        let rootfs = vec![("ROOTFS", machine.rootfs.clone().into_os_string())];
        let words = ["doctor", "--fix"].map(OsString::from);
        let why = become_root(&rootfs, words).err().unwrap_or_default();
        say::error(&format!("nothing is removed: it needs root, and {why}"));
        return ExitCode::FAILURE;
    }
    if left.young > 0 {
        say::note(&format!(
            "Empty, but younger than {} seconds, so perhaps of a run that has just begun: {}. Try again in a moment.",
            machine.settled.as_secs(),
            counted(left.young, "cgroup")
        ));
    }
    if left.found.is_empty() {
        if left.young == 0 {
            say::print("Nothing is left over from earlier runs.\n");
        }
        return ExitCode::SUCCESS;
    }
    let mut failed: Vec<Leftover> = Vec::new();
    let mut still = left.found.clone();
    // Of shared mounts one takes others with it: each time, look at what there is.
    for _ in 0..left.found.len() {
        let Some(next) = still.iter().find(|one| !failed.contains(one)) else { break };
        say::note(&format!("+ {}", next.shown(machine)));
        if !remove_one(machine, next) {
            failed.push(next.clone());
        }
        still = leftovers(machine).found;
    }
    if !failed.is_empty() {
        say::error("not everything could be removed; the lines above say why");
        return ExitCode::FAILURE;
    }
    let removed = left.found.len().saturating_sub(still.len());
    say::print(&format!("Removed: {}.\n", counted(removed, "leftover")));
    ExitCode::SUCCESS
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("one {what}") } else { format!("{number} {what}s") }
}

fn remove_one(machine: &Machine, leftover: &Leftover) -> bool {
    let lost = match leftover {
        Leftover::Mount(point) => has_files(machine, point),
        Leftover::Lid => {
            if let Some(point) = mounts(machine).first() {
                say::error(&format!("{} has to go first", point.display()));
                return false;
            }
            file_in_lid(machine)
        }
        _ => None,
    };
    if let Some(file) = lost {
        say::error(&format!(
            "there is a tmpfs, and {} would be lost with it: left alone",
            file.display()
        ));
        return false;
    }
    let mut command = leftover.command(machine);
    if leftover.needs_root(machine) {
        let mut sudo = Command::new("sudo");
        sudo.arg(command.get_program()).args(command.get_args());
        command = sudo;
    }
    command.status().is_ok_and(|status| status.success())
}

/// A file with something in it on a file system that is gone with the highest lid.
fn file_in_lid(machine: &Machine) -> Option<PathBuf> {
    let inside = Mounts::of(machine).inside;
    let mut gone = inside.iter().filter(|mount| is_in_memory(mount));
    gone.find_map(|mount| file_in(&Path::new("/..").join(mount.point.strip_prefix("/").ok()?)))
}

fn is_in_memory(mount: &Mount) -> bool {
    ["tmpfs", "ramfs"].contains(&&*mount.kind)
}

/// A file with something in it on a file system that is gone with its mount.
fn has_files(machine: &Machine, point: &Path) -> Option<PathBuf> {
    let mounts = machine.mounts();
    let mount = mounts.iter().rev().find(|mount| mount.point == point)?;
    if !is_in_memory(mount) {
        return None;
    }
    // Seen once more elsewhere (a bind mount): nothing goes.
    if mounts.iter().filter(|other| other.device == mount.device).count() > 1 {
        return None;
    }
    file_in(point)
}

fn file_in(folder: &Path) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(data) = entry.metadata() else { return Some(entry.path()) };
        if data.is_file() && data.len() > 0 {
            return Some(entry.path());
        }
        if data.is_dir() {
            if let Some(file) = file_in(&entry.path()) {
                return Some(file);
            }
        }
    }
    None
}
