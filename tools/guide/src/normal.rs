//! What differs from run to run, and from machine to machine, becomes what a reader would see just as well: another
//! time of day, another number of a namespace. The widths stay, and what was equal stays equal.
//!
//! The numbers of processes need nothing: the classroom host counts from 4711.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use classroom::normal::is_borrowed;
use regex::{Captures, Regex};

/// What has been given another name in this session, and that name.
pub struct Normal {
    /// The host's own namespaces: those of an ordinary machine have these numbers.
    namespaces: Names,
    terminals: Names,
    cgroups: Names,
    keys: Names,
    hardware: Names,
    local: Names,
    /// How many of the host's mounts are the machine's.
    borrowed: usize,
    /// Whether a fork bomb has said that it met its limit.
    flooded: bool,
    /// Whether one has run: how many numbers of processes it has used up is chance.
    chance: bool,
    /// The last process before the last command was typed.
    last: u32,
    /// The numbers of those that came after it.
    calm: BTreeMap<u32, u32>,
}

/// Names by the order in which they are met.
struct Names {
    known: BTreeMap<String, String>,
    new: fn(usize) -> String,
    count: usize,
}

impl Names {
    fn new(new: fn(usize) -> String) -> Names {
        Names { known: BTreeMap::new(), new, count: 0 }
    }

    fn get(&mut self, name: &str) -> String {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let new = (self.new)(self.count);
        self.count += 1;
        self.known.insert(name.to_string(), new.clone());
        new
    }
}

/// The namespaces of a machine's first process, on the usual kernel.
const INITIAL: &[(&str, &str)] = &[
    ("time", "4026531834"),
    ("cgroup", "4026531835"),
    ("pid", "4026531836"),
    ("user", "4026531837"),
    ("uts", "4026531838"),
    ("ipc", "4026531839"),
    ("net", "4026531840"),
    ("mnt", "4026531841"),
];

/// What makes a terminal a terminal: colours, cursors, carriage returns.
pub fn plain(text: &str) -> String {
    let escapes = regex!(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[()][A-Z0-9]|[\r\x07]");
    escapes.replace_all(text, "").into_owned()
}

/// What the processes of a fork bomb say, all at the same time, when they have met the limit.
const FLOOD: &str = "can't fork: Resource temporarily unavailable";

/// Who starts more processes than this with one command has typed a fork bomb. (To be wrong about that does no harm.)
const BOMB: u32 = 16;

/// Without the flood of a fork bomb, in which prompts drown.
pub fn without_flood(text: &str) -> String {
    let flood = regex!(
        r"(\w*: ?)*can't fork: Resource temporarily unavailable\n*|^(\w*: )+$|\[\d+\][+-]? +Done .*\n"
    );
    if text.matches(FLOOD).count() > 1 {
        flood.replace_all(text, "").into_owned()
    } else {
        text.to_string()
    }
}

/// What is the same whenever it comes: times of day, and how long something took.
static FIXED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let months = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec";
    let days = "Mon|Tue|Wed|Thu|Fri|Sat|Sun";
    let table = [
        (
            &*format!(r"\b({days}) ({months}) [ \d]\d \d\d:\d\d:\d\d \w+ \d{{4}}\b"),
            "Tue Nov  3 10:15:00 UTC 2026",
        ),
        (&*format!(r"\b({months}) [ \d]\d \d\d:\d\d\b"), "Nov  3 10:15"),
        (
            r"\b20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9} [+-]\d{4}",
            "2026-11-03 10:15:00.000000000 +0000",
        ),
        (r"\b20\d\d-\d\d-\d\d \d\d:\d\d\b", "2026-11-03 10:15"),
        // ps -f: the share of the processor, and the time of the start.
        (r"^(\S+ +\d+ +\d+ ) *\d+ (\d\d:\d\d )", "$1 0 $2"),
        (r"(^|\s)\d\d:\d\d(\s|$)", "${1}10:15${2}"),
        (r"\b00:00:0\d\b", "00:00:00"),
        (r"\btime=\d+(\.\d+)? ms", "time=0.050 ms"),
        (r", time \d+ms$", ", time 1000ms"),
        (r"= [\d.]+/[\d.]+/[\d.]+/[\d.]+ ms$", "= 0.050/0.050/0.050/0.000 ms"),
        (r"= [\d.]+/[\d.]+/[\d.]+ ms$", "= 0.050/0.050/0.050 ms"),
    ];
    let regex = |pattern: &str| Regex::new(pattern).expect("the expression is well-formed");
    table.into_iter().map(|(pattern, by)| (regex(pattern), by)).collect()
});

impl Normal {
    /// `namespace` tells the number of a namespace of the host's first process: `uts` → 4026532300. `borrowed` is how
    /// many mounts the host has in the folders that it borrows from the machine.
    pub fn new(namespace: impl Fn(&str) -> Option<String>, borrowed: usize) -> Normal {
        let mut normal = Normal {
            namespaces: Names::new(|count| (4026532281 + count as u64).to_string()),
            terminals: Names::new(|count| count.to_string()),
            cgroups: Names::new(|count| format!("{}214365879", 1_763_892_000 + 60 * count)),
            keys: Names::new(|count| {
                format!("0x{:08x}", 0x3c6e_f372_u32.wrapping_mul(2 * count as u32 + 1))
            }),
            hardware: Names::new(|count| format!("02:42:ac:11:00:{:02x}", count + 2)),
            local: Names::new(|count| format!("fe80::42:acff:fe11:{:x}", count + 2)),
            borrowed,
            flooded: false,
            chance: false,
            last: 0,
            calm: BTreeMap::new(),
        };
        for (kind, usual) in INITIAL {
            if let Some(number) = namespace(kind) {
                normal.namespaces.known.insert(number, usual.to_string());
            }
        }
        normal
    }

    /// Makes a terminal (`/dev/pts/7`) known: the first is pts/0, the second pts/1.
    pub fn terminal(&mut self, file: &str) {
        self.terminals.get(file.trim_start_matches("/dev/pts/"));
    }

    /// Makes the highest number of a process known, and whether the host has come to rest: before a command is typed.
    pub fn processes(&mut self, last: u32, calm: bool) {
        self.chance |= !calm || (self.last > 0 && last > self.last + BOMB);
        if !self.chance {
            self.last = last;
        }
    }

    /// Gives other numbers to the processes that were started after a fork bomb.
    fn calm_down(&mut self, text: &str) {
        let mut new: Vec<u32> = regex!(r"\b\d{4,7}\b")
            .find_iter(text)
            .filter_map(|found| found.as_str().parse().ok())
            .filter(|pid| {
                (self.last + 1..self.last + 30_000).contains(pid) && !self.calm.contains_key(pid)
            })
            .collect();
        new.sort();
        new.dedup();
        for pid in new {
            self.calm.insert(pid, self.last + 40 + self.calm.len() as u32);
        }
    }

    /// What a command has printed. On the host itself, what is mounted in the folders that it borrows from the machine
    /// is left out.
    pub fn output(&mut self, text: &str, inside: bool) -> Vec<String> {
        let mut lines = Vec::new();
        if self.flooded || text.matches(FLOOD).count() > 1 {
            // How much comes before the next command is chance: the first line stands for all.
            if !self.flooded {
                lines.extend([format!("sh: {FLOOD}"), "…".to_string()]);
            }
            self.flooded = true;
            self.chance = true;
            if inside {
                return lines;
            }
        }
        // It may be over when nobody looks, and show only in the output of ps.
        let listed = regex!(r"(?m)^ *(?:\S+ +)?(\d{4,7}) ").captures_iter(text);
        let mut listed = listed.filter_map(|found| found[1].parse().ok());
        let far = self.last + BOMB + 1..self.last + 30_000;
        self.chance |= self.last > 0 && listed.any(|pid: u32| far.contains(&pid));
        if self.chance {
            self.calm_down(text);
        }
        let mut tunnel = false;
        for line in text.lines() {
            // The kernel puts these into every network namespace, if their modules are loaded.
            let fallback = regex!(
                r"^\d+: (tunl0|gre0|gretap0|erspan0|ip_vti0|ip6_vti0|sit0|ip6tnl0|ip6gre0)@"
            );
            tunnel = fallback.is_match(line) || tunnel && line.starts_with(' ');
            if tunnel {
                continue;
            }
            let Some(line) = mount(line, inside) else { continue };
            lines.push(self.line(&line).trim_end().to_string());
        }
        lines
    }

    fn line(&mut self, line: &str) -> String {
        let mut text = line.to_string();
        for (pattern, by) in &*FIXED {
            text = pattern.replace_all(&text, *by).into_owned();
        }
        let number = regex!(r"\b\d{4,7}\b");
        let text = number.replace_all(&text, |found: &Captures| {
            let calm = found[0].parse().ok().and_then(|pid: u32| self.calm.get(&pid));
            calm.map_or(found[0].to_string(), u32::to_string)
        });
        let namespaces = regex!(r"\b4026\d{6}\b");
        let text = namespaces.replace_all(&text, |found: &Captures| self.namespaces.get(&found[0]));
        let terminal = regex!(r"\bpts/(\d+)( ?)");
        let text = terminal.replace_all(&text, |found: &Captures| {
            let new = self.terminals.known.get(&found[1]).map_or(&found[1], |known| known);
            // Columns stay columns.
            let width = if found[2].is_empty() { 0 } else { found[0].len() };
            format!("{:width$}", format!("pts/{new}"))
        });
        // A classroom host's cgroups lie below one that the machine has made for it.
        let text = regex!(r"/classroom-\d+-\d+\b").replace_all(&text, "").into_owned();
        let cgroup = regex!(r"\b(step10-\d+-)(\d{1,19})\b");
        let text = cgroup.replace_all(&text, |found: &Captures| {
            // ps cuts long lines off.
            let known = self.cgroups.known.keys().find(|name| name.starts_with(&found[2])).cloned();
            let name = self.cgroups.get(&known.unwrap_or_else(|| found[2].to_string()));
            format!("{}{}", &found[1], &name[..found[2].len()])
        });
        // look: how many mounts the host has, of which a usual one has about thirty; how much memory is in use.
        let host = regex!(r"^( host +\S+ +\d+ +/ +)(\d+)( *)");
        let text = host.replace(&text, |found: &Captures| {
            let own = found[2].parse::<usize>().unwrap_or(0).saturating_sub(self.borrowed);
            format!("{}{:<2$}", &found[1], USUAL + own, found[2].len() + found[3].len())
        });
        let memory = regex!(r"^( +memory +[█▒░]+) \d+ of (\d+) MB( \(peak \d+\))?$");
        let text = memory.replace(&text, "$1 2 of $2 MB");
        // Whether its start alone takes a container to its limit is a matter of how fast the machine is.
        let held_back = regex!(r"(\bcpu +at most .*?)  held back .*$");
        let text = held_back.replace(&text, "$1");
        let key = regex!(r"^0x[0-9a-f]{8}\b");
        let text = key.replace_all(&text, |found: &Captures| match &found[0] {
            "0x00000000" => found[0].to_string(),
            key => self.keys.get(key),
        });
        let ethernet = regex!(r"\blink/ether ([0-9a-f:]{17})");
        let text = ethernet.replace_all(&text, |found: &Captures| {
            format!("link/ether {}", self.hardware.get(&found[1]))
        });
        let local = regex!(r"\bfe80::[0-9a-f:]+");
        let text = local.replace_all(&text, |found: &Captures| self.local.get(&found[0]));
        text.into_owned()
    }
}

/// So many mounts a usual machine has beside its root and its /proc.
const USUAL: usize = 28;

/// A line of `mount` or of /proc/mounts, with the options that do not depend on the machine; none if it is about a
/// folder that the host borrows. Other lines stay.
fn mount(line: &str, inside: bool) -> Option<String> {
    let (by_mount, by_proc) = (
        regex!(r"^(\S+) on (/\S*) type (\S+) \((\S+)\)$"),
        regex!(r"^(\S+) (/\S*) (\S+) (\S+) 0 0$"),
    );
    let Some(found) = by_mount.captures(line).or_else(|| by_proc.captures(line)) else {
        return Some(line.to_string());
    };
    let (source, place, kind) = (&found[1], &found[2], &found[3]);
    if is_borrowed(place) && !inside {
        return None;
    }
    let keep = ["ro", "rw", "nosuid", "nodev", "noexec", "relatime", "noatime"];
    let kept = |option: &&str| {
        keep.contains(option) || option.starts_with("uid=") || option.starts_with("gid=")
    };
    let mut options: Vec<&str> = found[4].split(',').filter(kept).collect();
    let (mut source, mut kind) = (source, kind);
    // A device file is mounted from the machine's /dev, whatever that is there.
    if place.starts_with("/dev/") && kind.ends_with("tmpfs") {
        (source, kind) = ("devtmpfs", "devtmpfs");
        options.truncate(1);
        options.push("nosuid");
    }
    let options = options.join(",");
    Some(if by_mount.is_match(line) {
        format!("{source} on {place} type {kind} ({options})")
    } else {
        format!("{source} {place} {kind} {options} 0 0")
    })
}
