//! Normal forms of outputs: what differs between machines, tools and runs is taken out.
//!
//! The first remedy is a host that is the same everywhere. What is left is here, each with its
//! reason.

/// The folders that the classroom host borrows from the machine. What is mounted on and under them
/// depends on the machine, and no step is about it.
pub const BORROWED: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/sys", "/dev"];

/// Words separated by one space: tools pad their columns differently.
pub fn columns(text: &str) -> String {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

/// Whether a process of the host is one of those that stand in for kernel threads: they have the
/// arguments of its init, and another number.
pub fn stand_in(pid: u32, args: &str) -> bool {
    pid != 1 && args == "sh init"
}

/// The output of `ps -o pid,args`: its rows, without the heading and the host's stand-ins.
///
/// (Without /proc, tools differ in what they print beside the rows.)
pub fn processes(text: &str) -> String {
    let columns = columns(text);
    let rows = columns.lines().filter_map(|row| {
        let (pid, args) = row.split_once(' ')?;
        let pid = pid.parse().ok()?;
        (!stand_in(pid, args)).then(|| format!("{pid} {args}\n"))
    });
    rows.collect()
}

/// Whether a place is in one of the folders that the host borrows.
pub fn is_borrowed(place: &str) -> bool {
    BORROWED.iter().any(|dir| {
        place.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// The output of `mount` on the host: without what is mounted in the borrowed folders, and without
/// the options of a file system's superblock, which tell of the machine (`size=`, `uid=`, …).
pub fn mounts(text: &str) -> String {
    each_mount(text, |source, place, kind, flags| {
        (!is_borrowed(place)).then(|| format!("{source} on {place} type {kind} ({flags})\n"))
    })
}

/// The output of `mount` in a container with a root of its own. There each device is a mount, and
/// what it is taken from is the machine's.
pub fn container_mounts(text: &str) -> String {
    each_mount(text, |source, place, kind, flags| {
        if place.starts_with("/dev/") {
            return Some(format!("(the host's) on {place}\n"));
        }
        Some(format!("{source} on {place} type {kind} ({flags})\n"))
    })
}

fn each_mount(text: &str, show: impl Fn(&str, &str, &str, &str) -> Option<String>) -> String {
    let keep = |option: &&str| {
        ["rw", "ro", "nosuid", "nodev", "noexec", "relatime", "noatime"].contains(option)
    };
    let line = |line: &str| {
        let (source, rest) = line.split_once(" on ")?;
        let (place, rest) = rest.split_once(" type ")?;
        let (kind, options) = rest.split_once(" (")?;
        let flags = options.trim_end_matches(')').split(',').filter(keep).collect::<Vec<_>>();
        Some(show(source, place, kind, &flags.join(",")).unwrap_or_default())
    };
    text.lines().map(|text| line(text).unwrap_or_else(|| format!("{text}\n"))).collect()
}

/// The output of `ip link`: one line per interface, with its number, its name and whether it is up.
///
/// Without the tunnel devices that the kernel puts into every new network namespace as soon as
/// their module is loaded (`tunl0`, `sit0`, …): they tell of the machine.
pub fn links(text: &str) -> String {
    const FALLBACK: &[&str] = &[
        "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0",
    ];
    let mut kept = String::new();
    for line in text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())) {
        let mut parts = line.splitn(3, ": ");
        let (number, name, rest) = (parts.next(), parts.next(), parts.next());
        let name = name.unwrap_or_default().split('@').next().unwrap_or_default();
        if FALLBACK.contains(&name) {
            continue;
        }
        let flags = rest.unwrap_or_default().split('>').next().unwrap_or_default();
        let up = flags.trim_start_matches('<').split(',').any(|flag| flag == "UP");
        let state = if up { "UP" } else { "DOWN" };
        kept += &format!("{}: {name} {state}\n", number.unwrap_or_default());
    }
    kept
}

/// The output of `ipcs`: its rows without the headings and the random key.
pub fn ipcs(text: &str) -> String {
    let rows = text.lines().filter(|line| line.starts_with("0x"));
    columns(&rows.map(|row| format!("KEY {}\n", &row[10..])).collect::<String>())
}

/// Stable names for the numbers of processes: 100 and above become `A`, `B`, … in the order in
/// which they appear. Smaller ones stay: in a PID namespace they are the lesson.
#[derive(Default)]
pub struct Pids(Vec<u32>);

impl Pids {
    /// Replaces every number that stands alone as a word or after `as `.
    pub fn name(&mut self, text: &str) -> String {
        let mut named = String::new();
        for piece in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
            let word = piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            match word.parse::<u32>() {
                Ok(pid) if pid >= 100 => {
                    named += &self.letter(pid);
                    named += &piece[word.len()..];
                }
                _ => named += piece,
            }
        }
        named
    }

    fn letter(&mut self, pid: u32) -> String {
        let place = self.0.iter().position(|known| *known == pid).unwrap_or_else(|| {
            self.0.push(pid);
            self.0.len() - 1
        });
        char::from(b'A' + place as u8).to_string()
    }
}
