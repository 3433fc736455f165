//! What a machine would have to be made for: folders that stand for `/`, with the files that one has shown.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use look::cgroup::{Controller, limits};
use look::changes::{Changes, Mark};
use look::details::details;
use look::inside::Peeks;
use look::machine::{Id, Kind, Machine, Place, Process, Snapshot};
use look::model::{Cell, Names, Picture, Room, letters, picture};
use look::paper::{harmless, list, tail};
use look::proc;
use tempfile::TempDir;

const ALL: Room = Room { containers: 10, rows: 100, all: false };

/// A machine of which only files are left.
struct Recorded(TempDir);

impl Recorded {
    /// With `look` itself, as number 100, in the namespaces 1.
    fn new() -> Recorded {
        let recorded = Recorded(TempDir::new().expect("no temporary folder"));
        recorded.process(1, 0, "init", 1);
        recorded.process(100, 1, "look", 1);
        symlink("100", recorded.path("proc/self")).expect("symlink");
        recorded.write("proc/sys/kernel/hostname", "host\n");
        recorded
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("mkdir");
        fs::write(path, text).expect("write");
    }

    fn process(&self, pid: i32, parent: i32, name: &str, namespaces: u64) {
        let folder = format!("proc/{pid}");
        let file = |name: &str, text: &str| self.write(&format!("{folder}/{name}"), text);
        let zeros = "0 ".repeat(12);
        file("stat", &format!("{pid} ({name}) S {parent} {pid} {pid} 34816 -1 0 {zeros}{pid} 0\n"));
        file("status", &format!("Name:\t{name}\nUid:\t0\t0\t0\t0\nNSpid:\t{pid}\n"));
        file("cmdline", &format!("{name}\0"));
        file("cgroup", "0::/\n");
        file("uid_map", "         0          0 4294967295\n");
        file("mountinfo", "21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n");
        file("net/dev", "Inter-|\n face |\n    lo: 0 0\n  eth0: 0 0\n");
        fs::create_dir_all(self.path(&format!("{folder}/ns"))).expect("mkdir");
        for kind in Kind::ALL {
            let (link, to) = match kind {
                Kind::Root => (format!("{folder}/root"), "/".to_string()),
                kind => (
                    format!("{folder}/ns/{}", kind.name()),
                    format!("{}:[{namespaces}]", kind.name()),
                ),
            };
            symlink(to, self.path(&link)).expect("symlink");
        }
    }

    fn look(&self) -> Snapshot {
        Machine::new(self.0.path()).and_then(|mut machine| machine.look()).expect("cannot look")
    }
}

fn commands(picture: &Picture) -> Vec<String> {
    picture.rows.iter().map(|row| row.command.join(" ")).collect()
}

#[test]
fn who_is_gone_in_the_middle_is_not_there() {
    let recorded = Recorded::new();
    for (pid, missing) in [(200, "stat"), (201, "status"), (202, "cmdline"), (203, "")] {
        recorded.process(pid, 1, "contained", 2);
        if !missing.is_empty() {
            fs::remove_file(recorded.path(&format!("proc/{pid}/{missing}"))).expect("rm");
        }
    }
    recorded.write("proc/204/stat", "204 (half");
    fs::create_dir_all(recorded.path("proc/205")).expect("mkdir");
    let snapshot = recorded.look();
    assert_eq!(snapshot.processes.keys().copied().collect::<Vec<_>>(), [1, 100, 203]);
    assert_eq!((snapshot.closed, snapshot.hidden), (0, false));
}

/// A kernel without cgroup and time namespaces has none that differ.
#[test]
fn an_old_kernel() {
    let recorded = Recorded::new();
    recorded.process(200, 1, "run", 1);
    for pid in [1, 100, 200] {
        for kind in ["time", "cgroup"] {
            fs::remove_file(recorded.path(&format!("proc/{pid}/ns/{kind}"))).expect("rm");
        }
    }
    let snapshot = recorded.look();
    assert!(snapshot.processes.values().all(|process| process.at_home));
}

/// Numbers are given away again: a parent that is younger than its child is somebody else.
#[test]
fn a_circle_of_parents() {
    let recorded = Recorded::new();
    recorded.process(200, 201, "one", 2);
    recorded.process(201, 200, "other", 2);
    let snapshot = recorded.look();
    assert_eq!((snapshot.ancestors(200), snapshot.ancestors(201)), (vec![], vec![200]));
    assert_eq!(commands(&picture(&snapshot, &mut Names::default(), ALL)), ["one", "other"]);
}

#[test]
fn a_shell_with_run_and_child_and_what_is_in_them() {
    let recorded = Recorded::new();
    recorded.process(200, 1, "bash", 1);
    recorded.process(201, 200, "run", 1);
    recorded.process(202, 201, "child", 2);
    let mut machine = Machine::new(recorded.0.path()).expect("no machine");
    let snapshot = machine.look().expect("cannot look");
    let picture = picture(&snapshot, &mut Names::default(), ALL);
    assert_eq!(commands(&picture), ["init", "bash", "run", "child"]);
    assert_eq!(picture.rows[2].cells, [Cell::Host; 9]);
    assert_eq!(picture.rows[3].cells[Kind::Net as usize], Cell::Own(0));
    assert_eq!(picture.rows[3].cells[Kind::Root as usize], Cell::Host);
    let details = details(&machine, &snapshot, &picture, &mut Peeks::default(), Duration::ZERO);
    // Nobody can go into a namespace that is only a file's name.
    assert_eq!(format!("{:?}", details.containers[0].1[Kind::Uts as usize]), "Closed");
    assert_eq!(format!("{:?}", details.host[Kind::Uts as usize]), "Text(\"host\")");
    assert_eq!(format!("{:?}", details.host[Kind::Net as usize]), "Names([\"lo\", \"eth0\"])");
}

/// The second look calls everybody what the first one did, also in a container in a container.
#[test]
fn names_stay() {
    let recorded = Recorded::new();
    recorded.process(200, 1, "outer", 2);
    recorded.process(201, 200, "inner", 2);
    for kind in ["uts", "pid", "mnt"] {
        let link = recorded.path(&format!("proc/201/ns/{kind}"));
        fs::remove_file(&link).expect("rm");
        symlink(format!("{kind}:[3]"), link).expect("symlink");
    }
    let snapshot = recorded.look();
    let mut names = Names::default();
    let first = picture(&snapshot, &mut names, ALL);
    assert_eq!(first.containers[1].instead[Kind::Net as usize], Cell::Own(0));
    assert_eq!(picture(&snapshot, &mut names, ALL), first);
}

/// Twenty that are alike are one line; so are those of a fork bomb, which start each other.
#[test]
fn those_who_are_alike() {
    let recorded = Recorded::new();
    recorded.process(200, 1, "sh", 2);
    for pid in 201..=220 {
        recorded.process(pid, 200, "sleep", 2);
    }
    for (pid, parent) in [(300, 200), (301, 200), (302, 300), (303, 300), (304, 301), (305, 301)] {
        recorded.process(pid, parent, "bomb", 2);
    }
    let snapshot = recorded.look();
    let picture = picture(&snapshot, &mut Names::default(), ALL);
    let rows: Vec<(String, usize)> =
        picture.rows.iter().map(|row| (row.command.join(" "), row.count)).collect();
    let expected = [("init", 1), ("sh", 1), ("sleep", 20), ("bomb", 6)];
    assert_eq!(rows, expected.map(|(name, count)| (name.to_string(), count)));
}

/// Where there is no room, the last lines go, and are counted; a shorter tree keeps its own.
#[test]
fn more_lines_than_there_is_room_for() {
    let recorded = Recorded::new();
    recorded.process(200, 0, "sh", 2);
    for pid in 201..=230 {
        recorded.process(pid, 200, &format!("c{pid}"), 2);
    }
    recorded.process(300, 0, "other", 3);
    let snapshot = recorded.look();
    let room = Room { rows: 10, ..ALL };
    let picture = picture(&snapshot, &mut Names::default(), room);
    assert_eq!(picture.rows.len(), 10);
    let more: Vec<usize> =
        picture.rows.iter().filter(|row| row.pid.is_none()).map(|row| row.count).collect();
    assert_eq!(more, [31 - 8], "{:?}", commands(&picture));
    assert_eq!(commands(&picture).last().map(String::as_str), Some("other"));
}

const V2: &str =
    "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 21 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

#[test]
fn limits_of_version_2() {
    let recorded = Recorded::new();
    let file = |name: &str, text: &str| recorded.write(&format!("sys/fs/cgroup/{name}"), text);
    file("user.slice/pids.max", "4915\n");
    file("user.slice/box/pids.max", "20\n");
    file("user.slice/box/pids.current", "3\n");
    file("user.slice/box/pids.peak", "20\n");
    file("user.slice/box/pids.events", "max 12\n");
    file("user.slice/box/memory.max", "max\n");
    file("user.slice/box/cpu.max", "50000 100000\n");
    file("user.slice/box/cpu.stat", "usage_usec 5\nnr_throttled 7\n");
    // systemd in a container: its processes are deeper, where there is no limit.
    file("user.slice/box/init.scope/pids.max", "max\n");
    let machine = Machine::new(recorded.0.path()).expect("no machine");
    let mounts = proc::mounts(V2);
    let at = |path: &str| proc::members(&format!("0::{path}\n"));
    let shell = at("/user.slice/session.scope");
    file("user.slice/other/pids.max", "max\n");
    let limits = |path: &str| limits(&machine, &mounts, &at(path), &shell);
    let found = limits("/user.slice/box/init.scope").expect("no limits");
    assert_eq!(found.len(), 2, "{found:?}");
    let pids = &found[0];
    assert_eq!((pids.controller, pids.most, pids.now), (Controller::Pids, 20, Some(3)));
    assert_eq!((pids.peak, pids.met), (Some(20), 12));
    assert_eq!((found[1].controller, found[1].most, found[1].met), (Controller::Cpu, 500, 7));
    // What holds for the shell as well is none of the container's.
    assert_eq!(limits("/user.slice/other"), Some(Vec::new()));
    // "I cannot see it" is not "there is none".
    assert_eq!(limits("/../elsewhere"), None);
    assert_eq!(limits("/user.slice/gone"), None);
}

#[test]
fn limits_of_version_1() {
    let recorded = Recorded::new();
    let file = |name: &str, text: &str| recorded.write(&format!("sys/fs/cgroup/{name}"), text);
    file("memory/box/memory.limit_in_bytes", "52428800\n");
    file("memory/box/memory.usage_in_bytes", "1048576\n");
    file("memory/box/memory.failcnt", "3\n");
    file("memory/box/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
    file("memory/none/memory.limit_in_bytes", "9223372036854771712\n");
    file("cpu,cpuacct/box/cpu.cfs_quota_us", "-1\n");
    file("cpu,cpuacct/box/cpu.cfs_period_us", "100000\n");
    // A part of the tree, mounted over it, as on the classroom host.
    let mounts = proc::mounts(
        "30 21 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
         31 30 0:30 /class /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
         32 21 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",
    );
    let machine = Machine::new(recorded.0.path()).expect("no machine");
    let at = |name: &str| {
        proc::members(&format!("4:memory:/class/{name}\n2:cpu,cpuacct:/{name}\n0::/\n"))
    };
    let outside = proc::members("4:memory:/class\n2:cpu,cpuacct:/\n0::/\n");
    file("cpu,cpuacct/none/cpu.cfs_quota_us", "-1\n");
    file("cpu,cpuacct/none/cpu.cfs_period_us", "100000\n");
    let found = limits(&machine, &mounts, &at("box"), &outside).expect("no limits");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].most, found[0].now), (50 << 20, Some(1 << 20)));
    assert_eq!((found[0].met, found[0].killed), (3, 1));
    assert_eq!(limits(&machine, &mounts, &at("none"), &outside), Some(Vec::new()));
}

#[test]
fn what_proc_says() {
    let stat = "7 (a) b) R 1 2 3 4 -1 2097152 0 0 0 0 1 2 3 4 20 0 1 0 99 0\n";
    let stat = proc::stat(stat).expect("no stat");
    assert_eq!((&*stat.name, stat.state, stat.parent), ("a) b", 'R', 1));
    assert_eq!((stat.session, stat.terminal, stat.ticks, stat.started), (3, 4, 10, 99));
    assert!(stat.kernel);
    let mounts = proc::mounts("5 1 0:3 /a\\040b /c\\134d rw - tmpfs none rw,size=1k\n");
    assert_eq!((&*mounts[0].top, &*mounts[0].place), ("/a b", "/c\\d"));
    let map = proc::id_map("0 1000 1\n1 100000 65536\n");
    let inside = [1000, 100000, 165535, 165536, 999].map(|outside| proc::inside(&map, outside));
    assert_eq!(inside, [Some(0), Some(1), Some(65536), None, None]);
}

#[test]
fn names_and_texts() {
    assert_eq!([0, 25, 26, 27, 52].map(letters), ["A", "Z", "AA", "AB", "BA"]);
    assert_eq!(harmless("a\x1b[2J\u{202e}ü"), "a\u{fffd}[2J\u{fffd}ü");
    assert_eq!(tail("/srv/classes/rootfs", 15), "…/rootfs");
    assert_eq!(tail("/a", 2), "/a");
    let names = ["lo", "eth0", "docker0"].map(str::to_string);
    assert_eq!(
        [16, 11, 6, 2].map(|room| list(&names, room)),
        ["lo eth0 docker0", "lo eth0 +1", "lo +2", "+3"]
    );
}

fn process(parent: i32, started: u64, own: u64) -> Rc<Process> {
    let mut places = [Place::In(Id(0, 1)); 9];
    places[Kind::Uts as usize] = Place::In(Id(0, own));
    Rc::new(Process {
        stat: proc::Stat { parent, started, terminal: 1, state: 'S', ..proc::Stat::default() },
        user: 0,
        pids: Vec::new(),
        places,
        arguments: vec![format!("c{started}")],
        members: Vec::new(),
        map: Vec::new(),
        at_home: own == 1,
        ended: false,
    })
}

fn snapshot(processes: &[(i32, Rc<Process>)]) -> Snapshot {
    Snapshot {
        processes: processes.iter().cloned().collect::<BTreeMap<_, _>>(),
        host: [Some(Id(0, 1)); 9],
        me: 1,
        user: 0,
        closed: 0,
        hidden: false,
        astray: Vec::new(),
    }
}

/// The time is handed in, so that nobody has to wait.
#[test]
fn marks_come_and_go() {
    let recorded = Recorded::new();
    let machine = Machine::new(recorded.0.path()).expect("no machine");
    let (mut changes, mut names) = (Changes::default(), Names::default());
    let mut look = |second: f64, processes: &[(i32, Rc<Process>)]| {
        let now = Duration::from_secs_f64(second);
        let mut snapshot = snapshot(processes);
        changes.keep_ended(&mut snapshot, now);
        let picture = picture(&snapshot, &mut names, ALL);
        let details = details(&machine, &snapshot, &picture, &mut Peeks::default(), now);
        let marks = changes.mark(&snapshot, &picture, &details, now);
        let mark = |row: &look::model::Row| match marks.row(row.pid.unwrap_or(0), row.started) {
            _ if row.ended => "-",
            Some(Mark::New) => "+",
            Some(Mark::Changed) => "*",
            None => " ",
        };
        picture.rows.iter().map(|row| mark(row).to_string() + &row.command[0]).collect::<Vec<_>>()
    };
    let (run, shell) = ((10, process(0, 10, 2)), (11, process(10, 11, 2)));
    assert_eq!(
        look(0.0, &[run.clone(), shell.clone()]),
        [" c10", " c11"],
        "nothing is new at first"
    );
    let sleep = (12, process(11, 12, 2));
    let three = [run.clone(), shell.clone(), sleep.clone()];
    assert_eq!(look(1.0, &three), [" c10", " c11", "+c12"]);
    assert_eq!(look(3.9, &three), [" c10", " c11", "+c12"]);
    assert_eq!(look(4.1, &three), [" c10", " c11", " c12"]);
    // Another UTS namespace, of the same process.
    let moved = (11, process(10, 11, 3));
    let three = [run.clone(), moved.clone(), sleep.clone()];
    assert_eq!(look(5.0, &three), [" c10", "*c11", " c12"]);
    assert_eq!(look(8.1, &three), [" c10", " c11", " c12"]);
    assert_eq!(look(9.0, &[run.clone(), moved.clone()]), [" c10", " c11", "-c12"]);
    assert_eq!(look(10.9, &[run.clone(), moved.clone()]), [" c10", " c11", "-c12"]);
    assert_eq!(look(11.1, &[run.clone(), moved.clone()]), [" c10", " c11"]);
    // The same number, another process.
    let again = (11, process(10, 99, 3));
    assert_eq!(look(12.0, &[run.clone(), again.clone()]), [" c10", "+c99"]);
    // Of those whom a fork bomb leaves behind none is kept.
    let crowd: Vec<_> = (20..30).map(|pid| (pid, process(10, pid as u64, 3))).collect();
    look(13.0, &[&[run.clone(), again.clone()], &crowd[..]].concat());
    assert_eq!(look(13.2, &[run, again]), [" c10", "+c99"]);
}
