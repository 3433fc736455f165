//! Reading the machine: which processes there are, and which namespaces each of them is in.
//!
//! What counts as *the host's* is what `look` itself has: PID 1's links are closed to an ordinary user, and where they
//! are not, they are the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::Context;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use crate::proc;
use crate::proc::{Member, Mount, Range, Stat};

/// What a process may have of its own: the namespaces, and its root directory. In the order in which the workshop
/// takes them from the host, so that the picture fills from the left.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    Uts,
    Pid,
    Root,
    Mnt,
    Ipc,
    Net,
    User,
    Cgroup,
    /// No step has it, and few programs: it is drawn only where somebody has one.
    Time,
}

impl Kind {
    pub const ALL: [Kind; 9] = [
        Kind::Uts,
        Kind::Pid,
        Kind::Root,
        Kind::Mnt,
        Kind::Ipc,
        Kind::Net,
        Kind::User,
        Kind::Cgroup,
        Kind::Time,
    ];

    /// Its name as /proc/PID/ns has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Uts => "uts",
            Kind::Pid => "pid",
            Kind::Root => "root",
            Kind::Mnt => "mnt",
            Kind::Ipc => "ipc",
            Kind::Net => "net",
            Kind::User => "user",
            Kind::Cgroup => "cgroup",
            Kind::Time => "time",
        }
    }
}

/// Names one namespace or one directory of the machine: device and inode.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Id(pub u64, pub u64);

/// Where a process is, in one respect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// In this one.
    In(Id),
    /// In the host's, although its link may not be read: something else tells.
    Host,
    /// Not in the host's, but which one it is may not be seen.
    Elsewhere,
    /// May not be seen.
    Closed,
    /// Nowhere any more, it has ended; or the kernel has no such namespaces.
    None,
}

/// A process, as far as it may be seen.
#[derive(Clone, Debug)]
pub struct Process {
    pub stat: Stat,
    /// The effective user, as `look` sees it.
    pub user: u32,
    /// Its numbers, from /proc's PID namespace inwards to its own.
    pub pids: Vec<i32>,
    /// By `Kind as usize`.
    pub places: [Place; Kind::ALL.len()],
    pub arguments: Vec<String>,
    /// The cgroups that it is in.
    pub members: Vec<Member>,
    /// The users of its user namespace; only read where that is not the host's.
    pub map: Vec<Range>,
    /// Whether it may be where the host is in every respect: as far as that may be seen, it is.
    pub at_home: bool,
    /// It has ended since the last look, and is kept in the picture for a moment.
    pub ended: bool,
}

impl Process {
    pub fn place(&self, kind: Kind) -> Place {
        self.places[kind as usize]
    }

    pub fn zombie(&self) -> bool {
        self.stat.state == 'Z'
    }

    /// Whether anything about it may not be seen.
    pub fn closed(&self) -> bool {
        self.places.contains(&Place::Closed)
    }
}

/// All processes at one moment (nearly: /proc has no way to stop the machine for the reader).
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// By PID.
    pub processes: BTreeMap<i32, Rc<Process>>,
    /// What the host has; None where the kernel has no such namespaces.
    pub host: [Option<Id>; Kind::ALL.len()],
    /// `look` itself.
    pub me: i32,
    /// Whom it runs for: with sudo, who called that.
    pub user: u32,
    /// Those that are listed, and of which not even the parent may be seen.
    pub closed: usize,
    /// Whether /proc does not list other people's processes: proc(5), `hidepid`.
    pub hidden: bool,
    /// In which respects PID 1, as far as that may be seen, is not where `look` is.
    pub astray: Vec<Kind>,
}

impl Snapshot {
    /// Whether this is the host's.
    pub fn is_host(&self, kind: Kind, place: Place) -> bool {
        is_host(&self.host, kind, place)
    }

    /// Who has started a process, or has inherited it, if that is to be seen.
    pub fn parent(&self, pid: i32) -> Option<i32> {
        let process = self.processes.get(&pid)?;
        let parent = self.processes.get(&process.stat.parent)?;
        // Nobody is younger than their child: that number has been given away again while we read.
        let older = process.stat.parent != pid && parent.stat.started <= process.stat.started;
        older.then_some(process.stat.parent)
    }

    /// Its parents, from the nearest on.
    pub fn ancestors(&self, pid: i32) -> Vec<i32> {
        let parents = std::iter::successors(self.parent(pid), |pid| self.parent(*pid));
        parents.take(self.processes.len()).collect()
    }

    /// Whom each process has started, in the order of their age.
    pub fn children(&self) -> BTreeMap<i32, Vec<i32>> {
        let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for pid in self.processes.keys() {
            if let Some(parent) = self.parent(*pid) {
                children.entry(parent).or_default().push(*pid);
            }
        }
        for list in children.values_mut() {
            list.sort_by_key(|pid| (self.processes[pid].stat.started, *pid));
        }
        children
    }
}

/// How a program starts itself again. It says nothing of who that is.
pub const PROGRAM_ITSELF: &str = "/proc/self/exe";

/// Who is neither new nor in the picture is looked at only in turn, once in so many looks: a machine with 500 processes
/// would keep us busy for nothing.
const TURN: u64 = 10;

/// The machine, as the files below a folder tell of it: `/`, but for tests.
pub struct Machine {
    top: PathBuf,
    me: i32,
    user: u32,
    /// Those of the last look, and at which look each of them was new.
    known: BTreeMap<i32, (Rc<Process>, Option<u64>)>,
    /// Those that are looked at each time.
    watched: BTreeSet<i32>,
    looks: u64,
}

/// How reading a process failed.
enum Failed {
    /// It has ended meanwhile.
    Vanished,
    /// Not for us to see.
    Closed,
}

impl From<Errno> for Failed {
    fn from(errno: Errno) -> Failed {
        match errno {
            Errno::ACCESS | Errno::PERM => Failed::Closed,
            _ => Failed::Vanished,
        }
    }
}

impl Machine {
    /// # Errors
    /// If there is no /proc below `top`, or it is not one that `look` is in.
    pub fn new(top: &Path) -> anyhow::Result<Machine> {
        let itself = top.join("proc/self");
        let me = fs::read_link(&itself).with_context(|| {
            format!("cannot read {} (is /proc mounted? mount -t proc proc /proc)", itself.display())
        })?;
        let me = me.to_string_lossy().parse();
        let me = me.with_context(|| format!("{} is not a process's number", itself.display()))?;
        let real = rustix::process::getuid().as_raw();
        // sudo says for whom it works; anybody else may say what they like.
        let caller = std::env::var("SUDO_UID").ok().filter(|_| real == 0);
        let user = caller.and_then(|uid| uid.parse().ok()).unwrap_or(real);
        let known = BTreeMap::new();
        let watched = BTreeSet::new();
        Ok(Machine { top: top.to_path_buf(), me, user, known, watched, looks: 0 })
    }

    /// These are looked at each time from now on.
    pub fn watch(&mut self, pids: &[i32]) {
        self.watched = pids.iter().copied().collect();
    }

    /// Looks at all processes.
    ///
    /// # Errors
    /// If /proc cannot be read. That a process ends meanwhile, or is not for us to see, is no error.
    pub fn look(&mut self) -> anyhow::Result<Snapshot> {
        let proc = self.top.join("proc");
        let failed = || format!("cannot read {}", proc.display());
        let own = match self.process(self.me, None) {
            Ok(own) => own,
            Err(_) => anyhow::bail!("{}/{}: look cannot see itself", proc.display(), self.me),
        };
        let own_mounts = self.mounts(self.me);
        let host = Host::new(&own, &own_mounts, self.net_inode(self.me));
        let hidden = own_mounts.iter().rev().find(|mount| mount.place == "/proc");
        let hidden = hidden.is_some_and(|proc| {
            let hides = |option: &String| option.starts_with("hidepid=");
            proc.options
                .iter()
                .any(|option| hides(option) && option != "hidepid=0" && option != "hidepid=off")
        });
        let mut processes = BTreeMap::new();
        let mut closed = 0;
        let mut seen = BTreeMap::new();
        let new = (self.looks > 0).then_some(self.looks);
        for entry in fs::read_dir(&proc).with_context(failed)? {
            let Ok(entry) = entry else { continue };
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
            let (process, first) = match self.known.remove(&pid) {
                Some((process, first)) if self.rests(pid, first) => (process, first),
                old => match self.process(pid, Some(&host)) {
                    Ok(process) => {
                        let same = old.filter(|(old, _)| old.stat.started == process.stat.started);
                        (Rc::new(process), same.map_or(new, |(_, first)| first))
                    }
                    Err(Failed::Vanished) => continue,
                    Err(Failed::Closed) => {
                        closed += 1;
                        continue;
                    }
                },
            };
            processes.insert(pid, process.clone());
            seen.insert(pid, (process, first));
        }
        self.known = seen;
        self.looks += 1;
        let elsewhere = |first: &Rc<Process>| {
            let known = |kind: &Kind| {
                let place = first.place(*kind);
                place != Place::Closed && !is_host(&host.ids, *kind, place)
            };
            Kind::ALL.into_iter().filter(known).collect()
        };
        let astray = processes.get(&1).map(elsewhere).unwrap_or_default();
        let mut snapshot = Snapshot {
            astray,
            processes,
            host: host.ids,
            me: self.me,
            user: self.user,
            closed,
            hidden,
        };
        number_pid_namespaces(&mut snapshot);
        Ok(snapshot)
    }

    /// Whether a process need not be looked at this time.
    fn rests(&self, pid: i32, first: Option<u64>) -> bool {
        let settled = first.is_none_or(|first| self.looks >= first + TURN);
        settled && !self.watched.contains(&pid) && pid as u64 % TURN != self.looks % TURN
    }

    /// Reads one process. Through its folder, held open: should its number be given away again, that shows.
    fn process(&self, pid: i32, host: Option<&Host>) -> Result<Process, Failed> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(self.top.join(format!("proc/{pid}")), flags, Mode::empty())?;
        let stat = proc::stat(&text(&folder, "stat")?).ok_or(Failed::Vanished)?;
        let mut process = Process {
            stat,
            user: 0,
            pids: vec![pid],
            places: [Place::None; Kind::ALL.len()],
            arguments: Vec::new(),
            members: Vec::new(),
            map: Vec::new(),
            at_home: true,
            ended: false,
        };
        if process.stat.kernel {
            return Ok(process);
        }
        let mut closed = process.stat.state == 'X';
        if !process.zombie() && !closed {
            for kind in Kind::ALL {
                match place(&folder, kind) {
                    Ok(place) => process.places[kind as usize] = place,
                    Err(Errno::ACCESS | Errno::PERM) => {
                        // Also what one gets for a process that has ended: does it still have a stat?
                        text(&folder, "stat")?;
                        closed = true;
                        break;
                    }
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        if let (Some(host), false) = (host, closed) {
            let places = Kind::ALL.iter().zip(&process.places);
            process.at_home =
                places.into_iter().all(|(kind, place)| is_host(&host.ids, *kind, *place));
        }
        let plain = host.is_some() && process.at_home && !closed && !process.zombie();
        if plain && process.stat.terminal == 0 && pid != self.me {
            // Nobody asks for more than its name, and whose it is.
            let owner = rustix::fs::fstat(&folder)?;
            process.user = owner.st_uid;
            return Ok(process);
        }
        let status = proc::status(&text(&folder, "status")?).ok_or(Failed::Vanished)?;
        process.user = status.user;
        if !status.pids.is_empty() {
            process.pids = status.pids;
        }
        process.arguments = proc::arguments(&bytes(&folder, "cmdline")?);
        if process.arguments.first().is_some_and(|first| first == PROGRAM_ITSELF) {
            // What it calls itself is no name: every program could. (Closed where its namespaces are.)
            if let Ok(exe) = link(&folder, "exe") {
                process.arguments[0] = exe;
            }
        }
        process.members = proc::members(&text(&folder, "cgroup").unwrap_or_default());
        process.map = proc::id_map(&text(&folder, "uid_map").unwrap_or_default());
        if closed {
            process.places = match host {
                Some(host) => self.hints(&folder, &process, host),
                None => [Place::Closed; Kind::ALL.len()],
            };
            let known = |place: &Place| !matches!(place, Place::In(_) | Place::Elsewhere);
            process.at_home = process.places.iter().all(known);
        }
        Ok(process)
    }

    /// What the files that everybody may read give away of a process whose links are closed.
    fn hints(&self, folder: &OwnedFd, process: &Process, host: &Host) -> [Place; Kind::ALL.len()] {
        let mut places = [Place::Closed; Kind::ALL.len()];
        let mut set = |kind: Kind, place| places[kind as usize] = place;
        // It has a number more than we can see.
        if process.pids.len() > host.pids {
            set(Kind::Pid, Place::Elsewhere);
        } else {
            set(Kind::Pid, Place::Host);
        }
        // Another map is another namespace; the same map may be another one's, too.
        if process.map != host.map {
            set(Kind::User, Place::Elsewhere);
        }
        // Each network namespace has a /proc/net of its own, with inodes of its own.
        if let (Some(inode), Some(host)) = (net_inode(folder), host.net) {
            set(Kind::Net, if inode == host { Place::Host } else { Place::In(Id(1, inode)) });
        }
        // A mount is in one namespace, and has a number that no other has.
        let mounts = proc::mounts(&text(folder, "mountinfo").unwrap_or_default());
        if !mounts.is_empty() {
            let shared = mounts.iter().any(|mount| host.mounts.contains(&mount.id));
            set(Kind::Mnt, if shared { Place::Host } else { Place::Elsewhere });
        }
        if host.ids[Kind::Time as usize].is_none() {
            set(Kind::Time, Place::None);
        }
        places
    }

    /// The mounts that a process sees. None if it is gone.
    pub fn mounts(&self, pid: i32) -> Vec<Mount> {
        proc::mounts(&self.read(pid, "mountinfo").unwrap_or_default())
    }

    fn net_inode(&self, pid: i32) -> Option<u64> {
        let dev = self.top.join(format!("proc/{pid}/net/dev"));
        Some(std::os::unix::fs::MetadataExt::ino(&fs::metadata(dev).ok()?))
    }

    /// A file of a process.
    pub fn read(&self, pid: i32, file: &str) -> io::Result<String> {
        let bytes = fs::read(self.top.join(format!("proc/{pid}/{file}")))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A place on this machine.
    pub fn path(&self, absolute: &Path) -> PathBuf {
        self.top.join(absolute.strip_prefix("/").unwrap_or(absolute))
    }

    /// The directory that a path leads to.
    pub fn directory(&self, absolute: &Path) -> Option<Id> {
        root(rustix::fs::CWD, &self.path(absolute)).ok()
    }

    /// `look` itself.
    pub fn me(&self) -> i32 {
        self.me
    }
}

fn is_host(host: &[Option<Id>], kind: Kind, place: Place) -> bool {
    match place {
        Place::In(id) => host[kind as usize] == Some(id),
        Place::Host | Place::None => true,
        Place::Elsewhere | Place::Closed => false,
    }
}

/// What others are compared with.
struct Host {
    ids: [Option<Id>; Kind::ALL.len()],
    /// How many numbers a process of our PID namespace has.
    pids: usize,
    map: Vec<Range>,
    mounts: Vec<u64>,
    net: Option<u64>,
}

impl Host {
    fn new(own: &Process, mounts: &[Mount], net: Option<u64>) -> Host {
        let id = |kind: Kind| match own.place(kind) {
            Place::In(id) => Some(id),
            _ => None,
        };
        let mounts = mounts.iter().map(|mount| mount.id).collect();
        Host { ids: Kind::ALL.map(id), pids: own.pids.len(), map: own.map.clone(), mounts, net }
    }
}

/// Reads a link of a process's: `uts:[4026531838]`.
fn place(folder: &OwnedFd, kind: Kind) -> Result<Place, Errno> {
    if kind == Kind::Root {
        return match root(folder, Path::new("root")) {
            Ok(id) => Ok(Place::In(id)),
            Err(Errno::NOENT) => Ok(Place::None),
            Err(errno) => Err(errno),
        };
    }
    match link(folder, &format!("ns/{}", kind.name())) {
        Ok(text) => {
            let number = text.split(['[', ']']).nth(1).and_then(|number| number.parse().ok());
            Ok(number.map_or(Place::None, |number| Place::In(Id(0, number))))
        }
        Err(Errno::NOENT) => Ok(Place::None),
        Err(errno) => Err(errno),
    }
}

fn root(folder: impl AsFd, path: &Path) -> Result<Id, Errno> {
    let flags = AtFlags::STATX_DONT_SYNC; // no questions to a file server that does not answer
    let data = rustix::fs::statx(folder, path, flags, StatxFlags::INO)?;
    let device = u64::from(data.stx_dev_major) << 32 | u64::from(data.stx_dev_minor);
    Ok(Id(device, data.stx_ino))
}

fn link(folder: &OwnedFd, name: &str) -> Result<String, Errno> {
    Ok(rustix::fs::readlinkat(folder, name, Vec::new())?.to_string_lossy().into_owned())
}

fn net_inode(folder: &OwnedFd) -> Option<u64> {
    Some(rustix::fs::statat(folder, "net/dev", AtFlags::empty()).ok()?.st_ino)
}

fn bytes(folder: &OwnedFd, file: &str) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder.as_fd(), file, flags, Mode::empty())?;
    let mut bytes = Vec::with_capacity(4096);
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(&file, &mut buffer)? {
            0 => return Ok(bytes),
            length => bytes.extend(&buffer[..length]),
        }
    }
}

fn text(folder: &OwnedFd, file: &str) -> Result<String, Errno> {
    Ok(String::from_utf8_lossy(&bytes(folder, file)?).into_owned())
}

/// Gives the PID namespaces of processes whose links are closed the number of their first process: everybody in there
/// descends from a process that is 1 inside.
fn number_pid_namespaces(snapshot: &mut Snapshot) {
    let closed: Vec<i32> = snapshot
        .processes
        .iter()
        .filter(|(_, process)| process.place(Kind::Pid) == Place::Elsewhere)
        .map(|(pid, _)| *pid)
        .collect();
    let mut found = Vec::new();
    for pid in closed {
        let levels = snapshot.processes[&pid].pids.len();
        let line = std::iter::once(pid).chain(snapshot.ancestors(pid));
        let mut line = line.take_while(|pid| snapshot.processes[pid].pids.len() == levels);
        if let Some(first) = line.find(|pid| snapshot.processes[pid].pids.last() == Some(&1)) {
            found.push((pid, first));
        }
    }
    for (pid, first) in found {
        if let Some(process) = snapshot.processes.get_mut(&pid) {
            Rc::make_mut(process).places[Kind::Pid as usize] = Place::In(Id(2, first as u64));
        }
    }
}
