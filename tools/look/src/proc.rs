//! What the files of /proc say: from their text to values. See proc(5); nothing is opened here.
//!
//! A crate for this (procfs) was tried: it parses all fifty lines of a `status` where two are wanted, 70 µs a process
//! in a program that looks at 500 of them in 50 ms.

/// The part of `/proc/PID/stat` that tells where a process stands among the others.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stat {
    /// The program's name, at most 15 bytes of it.
    pub name: String,
    /// `S` sleeps, `R` runs, `Z` has ended and nobody has waited for it yet.
    pub state: char,
    /// 0 if the parent is in another PID namespace, or there is none.
    pub parent: i32,
    pub session: i32,
    /// The device number of the controlling terminal, 0 without one.
    pub terminal: i32,
    /// Whether it is one of the kernel's own.
    pub kernel: bool,
    /// The time of a CPU that it has used, and its children for which it has waited, in ticks: 100 a second.
    pub ticks: u64,
    /// When it was started, in ticks since the boot: with the PID it names a process for good.
    pub started: u64,
}

/// Reads a `/proc/PID/stat`.
pub fn stat(text: &str) -> Option<Stat> {
    // The name may hold anything, blanks and parentheses too: its end is the last one.
    let (head, tail) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_string();
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<i64>().ok();
    const KERNEL_THREAD: i64 = 0x0020_0000; // PF_KTHREAD, include/linux/sched.h
    Some(Stat {
        name,
        state: fields.first()?.chars().next()?,
        parent: number(1)? as i32,
        session: number(3)? as i32,
        terminal: number(4)? as i32,
        kernel: number(6)? & KERNEL_THREAD != 0,
        ticks: (11..=14).map_while(number).sum::<i64>() as u64,
        started: number(19)? as u64,
    })
}

/// The effective user and the numbers of a process, from its `/proc/PID/status`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// As the user namespace of whoever reads it has it.
    pub user: u32,
    /// One PID for each PID namespace that it is seen in: that of the /proc first, its own last.
    pub pids: Vec<i32>,
}

/// Reads a `/proc/PID/status`.
pub fn status(text: &str) -> Option<Status> {
    let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
    let user = field("Uid:")?.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let pids = field("NSpid:").unwrap_or_default().split_ascii_whitespace();
    Some(Status { user, pids: pids.filter_map(|pid| pid.parse().ok()).collect() })
}

/// The arguments of a process, from its `/proc/PID/cmdline`.
pub fn arguments(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\0');
    if text.is_empty() {
        return Vec::new();
    }
    text.split('\0').map(str::to_string).collect()
}

/// A line of `/proc/PID/mountinfo`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mount {
    /// A number that no other mount of the machine has.
    pub id: u64,
    /// The file system's device, `254:0`.
    pub device: String,
    /// Which folder of the file system is mounted.
    pub top: String,
    /// Where, as the process sees it.
    pub place: String,
    /// `ext4`, `tmpfs`, `cgroup2`.
    pub kind: String,
    /// The options of the file system, not of this mount: on cgroup v1 the controllers are among them.
    pub options: Vec<String>,
}

/// Reads a `/proc/PID/mountinfo`.
pub fn mounts(text: &str) -> Vec<Mount> {
    text.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let (head, tail) = line.split_once(" - ")?;
    let head: Vec<&str> = head.split(' ').collect();
    let tail: Vec<&str> = tail.split(' ').collect();
    Some(Mount {
        id: head.first()?.parse().ok()?,
        device: head.get(2)?.to_string(),
        top: unescape(head.get(3)?),
        place: unescape(head.get(4)?),
        kind: tail.first()?.to_string(),
        options: tail.get(2)?.split(',').map(str::to_string).collect(),
    })
}

/// What the kernel escapes in the paths of mountinfo. The backslash comes last, as the others begin with one.
fn unescape(text: &str) -> String {
    let escaped = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escaped.iter().fold(text.into(), |text: String, (code, plain)| text.replace(code, plain))
}

/// A line of `/proc/PID/cgroup`: controllers, and the cgroup that they count the process in. On v2 there is one line,
/// and it names no controllers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    pub controllers: Vec<String>,
    pub path: String,
}

/// Reads a `/proc/PID/cgroup`.
pub fn members(text: &str) -> Vec<Member> {
    let member = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let controllers = controllers.split(',').filter(|name| !name.is_empty());
        Some(Member { controllers: controllers.map(str::to_string).collect(), path: path.into() })
    };
    text.lines().filter_map(member).collect()
}

/// A line of `/proc/PID/uid_map`: `count` numbers from `inside` on are those from `outside` on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Range {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

/// Reads a `/proc/PID/uid_map`.
pub fn id_map(text: &str) -> Vec<Range> {
    let range = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse().ok());
        let mut next = || numbers.next()?;
        Some(Range { inside: next()?, outside: next()?, count: next()? })
    };
    text.lines().filter_map(range).collect()
}

/// What a number of the outside is called inside, if it is called anything.
pub fn inside(map: &[Range], outside: u32) -> Option<u32> {
    map.iter().find_map(|range| {
        let offset = outside.checked_sub(range.outside)?;
        (offset < range.count).then(|| range.inside + offset)
    })
}

/// The names of the interfaces, from a `/proc/PID/net/dev`.
pub fn interfaces(text: &str) -> Vec<String> {
    let names = text.lines().skip(2).filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.trim().to_string()).collect()
}

/// How many message queues there are, from /proc/sysvipc/msg: a heading, and a line for each.
pub fn queues(text: &str) -> usize {
    text.lines().count().saturating_sub(1)
}
