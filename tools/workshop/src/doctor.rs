//! `cargo workshop doctor`: can this machine do the workshop? And what is left of earlier runs?
//!
//! What a step is worth here shows when it is started ([`trial`]): in this place, as this user, with sudo if `cargo
//! run` would use it. The probes say why it fails, and what to do. Each looks at files only (/proc, /sys, the root
//! filesystem, PATH), below a folder that stands for `/`: so it can be shown any machine there is.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::iter::successors;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use nix::unistd::{AccessFlags, access, geteuid};

use crate::repo::{Repo, STEPS, Step};
use crate::say::{BOLD, DIM, GREEN, RED, RESET, YELLOW, wrap};
use crate::{owner, say};
use leftovers::{Left, leftovers, remove};
use trial::Trial;

/// A machine to look at.
struct Machine {
    /// The folder that stands for `/`.
    root: PathBuf,
    /// Who asks.
    uid: u32,
    /// The folders with programs.
    path: Vec<PathBuf>,
    /// The root filesystem of the containers.
    rootfs: PathBuf,
    /// Where cargo builds.
    target: PathBuf,
    /// The workshop.
    repository: PathBuf,
    /// Where temporary files go.
    temporary: PathBuf,
    /// The processor, as Rust names it.
    arch: &'static str,
    /// How old an empty cgroup has to be to be a leftover: who has just made one is about to join it.
    settled: Duration,
}

/// What stands in the way.
#[derive(Debug)]
struct Problem {
    /// The steps that it concerns; none if it only concerns what is around them.
    steps: Vec<u8>,
    /// Whether sudo is a way around it.
    sudo_helps: bool,
    /// Whether it only may be in the way: it is no verdict, and told where one of its steps has failed.
    perhaps: bool,
    /// What it is.
    what: String,
    /// A command, or what else to do.
    cure: String,
}

const PROBES: &[fn(&Machine) -> Vec<Problem>] = &[
    kernel,
    namespaces,
    namespace_limits,
    in_a_chroot,
    root,
    lid,
    user_namespaces,
    cgroups,
    propagation,
    masked_proc,
    of_root,
    temporary,
    programs,
    root_filesystem,
];

/// The cure for a container. (In a cgroup namespace of its own it has no controllers to hand on, with cgroup v2.)
const PRIVILEGED: &str =
    "Use the VM (vagrant up), or start that container with --privileged --cgroupns=host.";

/// Looks at this machine, and says what it is good for.
pub fn doctor(repo: &Repo, fix: bool) -> anyhow::Result<ExitCode> {
    let machine = this_machine(repo);
    if fix {
        return Ok(remove(&machine));
    }
    let problems: Vec<Problem> = PROBES.iter().flat_map(|probe| probe(&machine)).collect();
    let trial = trial::start(repo);
    let left = leftovers(&machine);
    let (mut text, all) = report(repo, &problems, &trial);
    text += &report_left(&machine, &left);
    say::print(&text);
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn this_machine(repo: &Repo) -> Machine {
    Machine {
        root: PathBuf::from("/"),
        uid: geteuid().as_raw(),
        path: env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default(),
        // As the kernel names it.
        rootfs: repo.rootfs().canonicalize().unwrap_or(repo.rootfs()),
        // Where this was built: it need not be in the repository (CARGO_TARGET_DIR).
        target: built_in().unwrap_or_else(|| repo.root().join("target")),
        repository: repo.root().to_path_buf(),
        temporary: env::temp_dir(),
        arch: env::consts::ARCH,
        settled: Duration::from_secs(2),
    }
}

/// What to print, and whether all ten steps can be done.
fn report(repo: &Repo, problems: &[Problem], trial: &Trial) -> (String, bool) {
    let mut text = format!("{BOLD}Can this machine do the workshop?{RESET}\n\n");
    let mut verdicts = Vec::new();
    for step in Step::all() {
        // What was tried is known; what was not is only likely.
        let (verdict, tried) = match trial.of(step) {
            Some(Ok(how)) => (*how, true),
            Some(Err(_)) => (Verdict::Impossible, true),
            None => (verdict(problems, step.number()), false),
        };
        let (colour, mark, words) = match (verdict, tried) {
            (Verdict::Ready, true) => (GREEN, "✓", "ready"),
            (Verdict::WithSudo, true) => (GREEN, "✓", "ready, with sudo"),
            (Verdict::Ready, false) => (YELLOW, "?", "likely"),
            (Verdict::WithSudo, false) => (YELLOW, "?", "likely, with sudo"),
            (Verdict::Impossible, _) => (RED, "✗", "not possible"),
        };
        verdicts.push(verdict);
        text += &format!(
            "  {colour}{mark} {step}{RESET} {:<58} {colour}{words}{RESET}\n",
            repo.idea(step)
        );
    }
    text += &format!("\n  {}\n", wrap(&trial.summary()).join("\n  "));
    for (message, steps) in trial.failures() {
        let steps: Vec<_> = steps.iter().map(|step| step.to_string()).collect();
        let what = wrap(&format!("Step {}: {message}", steps.join(", "))).join("\n  ");
        text += &format!("\n  {RED}{what}{RESET}\n");
    }
    let fails = |step: &u8| verdicts[usize::from(*step) - 1] == Verdict::Impossible;
    let mut seen = BTreeSet::new();
    let told = |problem: &&Problem| !problem.perhaps || problem.steps.iter().any(fails);
    let (around, in_the_way): (Vec<_>, Vec<_>) =
        problems.iter().filter(told).partition(|problem| problem.sudo_helps);
    // Where sudo does not work it is no way around anything.
    let around = around.into_iter().filter(|_| verdicts.contains(&Verdict::WithSudo));
    for problem in in_the_way.into_iter().chain(around).filter(|problem| seen.insert(&problem.what))
    {
        let colour = match problem {
            Problem { sudo_helps: true, .. } => DIM,
            // Steps that were seen to run have no problem; it is told all the same, as it may become one.
            Problem { steps, .. } if !steps.iter().any(fails) => YELLOW,
            _ => RED,
        };
        let what = wrap(&problem.what).join("\n  ");
        text += &format!("\n  {colour}{what}{RESET}\n      {}\n", problem.cure);
    }
    let all = !verdicts.contains(&Verdict::Impossible);
    (text, all)
}

/// What to print of earlier runs.
fn report_left(machine: &Machine, left: &Left) -> String {
    if left.found.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n  {YELLOW}Left over from earlier runs{RESET} (`cargo workshop doctor --fix` removes it):\n"
    );
    if left.is_uncertain() {
        text += &format!(
            "      mounts below {}, unless a container of root's is running: --fix looks, with sudo\n",
            machine.rootfs.display()
        );
    }
    for line in left.lines(machine) {
        text += &format!("      {line}\n");
    }
    text
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Ready,
    WithSudo,
    Impossible,
}

fn verdict(problems: &[Problem], step: u8) -> Verdict {
    let concerned = |problem: &&Problem| !problem.perhaps && problem.steps.contains(&step);
    let mut concerned = problems.iter().filter(concerned).peekable();
    if concerned.peek().is_none() {
        Verdict::Ready
    } else if concerned.all(|problem| problem.sudo_helps) {
        Verdict::WithSudo
    } else {
        Verdict::Impossible
    }
}

fn problem(
    steps: impl IntoIterator<Item = u8>,
    what: impl Into<String>,
    cure: impl Into<String>,
) -> Problem {
    Problem {
        steps: steps.into_iter().collect(),
        sudo_helps: false,
        perhaps: false,
        what: what.into(),
        cure: cure.into(),
    }
}

impl Machine {
    fn file(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.file(path)).ok().map(|text| text.trim_end().to_string())
    }

    /// Where a program lies.
    fn program(&self, name: &str) -> Option<PathBuf> {
        let common = ["/usr/sbin", "/sbin"].map(PathBuf::from);
        let mut found = self.path.iter().chain(&common).map(|dir| dir.join(name));
        found.find(|path| self.file(path).is_file())
    }

    fn has_program(&self, name: &str) -> bool {
        self.program(name).is_some()
    }

    /// The mounts, in the order of mounting, without what lies over the root directory: no path leads there.
    fn mounts(&self) -> Vec<Mount> {
        Mounts::of(self).below
    }
}

/// All mounts. One over the root directory is like a lid: only `/..` leads onto it, as paths begin below it. It and
/// what is mounted in it have the same mount points in mountinfo as the machine's own: `/`, `/proc`, `/dev`.
struct Mounts {
    /// Where the paths lead.
    below: Vec<Mount>,
    /// Over the root directory, the highest one last.
    lids: Vec<Mount>,
    /// In those.
    inside: Vec<Mount>,
}

impl Mounts {
    fn of(machine: &Machine) -> Mounts {
        let text = machine.read("/proc/self/mountinfo").unwrap_or_default();
        let table: Vec<Mount> = text.lines().filter_map(Mount::parse).collect();
        // The first file system of all is its own parent.
        let parents: BTreeMap<u32, (u32, bool)> = table
            .iter()
            .filter(|mount| mount.parent != mount.id)
            .map(|mount| (mount.id, (mount.parent, mount.point == Path::new("/"))))
            .collect();
        let is_lid = |id: u32| {
            let (parent, over_root) = parents.get(&id).copied().unwrap_or_default();
            over_root && table.iter().any(|mount| mount.id == parent)
        };
        let lids: BTreeSet<u32> =
            table.iter().map(|mount| mount.id).filter(|id| is_lid(*id)).collect();
        let chain = |id| successors(Some(id), |id| Some(parents.get(id)?.0));
        let (over, below): (Vec<_>, Vec<_>) =
            table.into_iter().partition(|mount| chain(mount.id).any(|id| lids.contains(&id)));
        let (mut lids, inside): (Vec<_>, Vec<_>) =
            over.into_iter().partition(|mount| lids.contains(&mount.id));
        lids.sort_by_key(|mount| chain(mount.id).count());
        Mounts { below, lids, inside }
    }

    /// Whether a mount shows this folder, whose path leads where it says.
    fn shows(&self, mount: &Mount, folder: &Path) -> bool {
        holding(&self.below, folder).is_some_and(|under| under.shows(mount, folder))
    }
}

/// A line of /proc/self/mountinfo.
#[derive(Debug)]
struct Mount {
    id: u32,
    /// The mount that it is mounted on.
    parent: u32,
    /// The file system, as `MAJOR:MINOR`.
    device: String,
    /// What of the file system is mounted.
    top: PathBuf,
    point: PathBuf,
    options: String,
    shared: bool,
    kind: String,
}

impl Mount {
    fn parse(line: &str) -> Option<Mount> {
        let (left, right) = line.split_once(" - ")?;
        let fields: Vec<&str> = left.split(' ').collect();
        Some(Mount {
            id: fields.first()?.parse().ok()?,
            parent: fields.get(1)?.parse().ok()?,
            device: fields.get(2)?.to_string(),
            top: PathBuf::from(unescape(fields.get(3)?)),
            point: PathBuf::from(unescape(fields.get(4)?)),
            options: fields.get(5)?.to_string(),
            shared: fields[6..].iter().any(|field| field.starts_with("shared:")),
            kind: right.split(' ').next()?.to_string(),
        })
    }

    fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|word| word == option)
    }

    /// Whether another mount shows a folder of this one once more (a bind mount).
    fn shows(&self, other: &Mount, folder: &Path) -> bool {
        let way = folder.strip_prefix(&self.point).unwrap_or(Path::new(""));
        other.device == self.device && other.top.components().eq(self.top.join(way).components())
    }
}

/// What the kernel escapes in the paths of mountinfo: proc(5). The backslash comes last, as the others begin with one.
fn unescape(text: &str) -> String {
    let escaped = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escaped.iter().fold(text.into(), |text: String, (code, plain)| text.replace(code, plain))
}

// --- The probes ---

fn kernel(machine: &Machine) -> Vec<Problem> {
    let Some(release) = machine.read("/proc/sys/kernel/osrelease") else {
        return vec![problem(
            1..=STEPS,
            "This is not Linux (or /proc is not mounted), and containers are a feature of Linux.",
            "Use the VM: vagrant up (README.md)",
        )];
    };
    if numbers(&release) >= vec![5, 4] {
        return Vec::new();
    }
    vec![problem(
        2..=STEPS,
        format!("The kernel is too old: {release}. The workshop needs 5.4 or newer."),
        "Use the VM: vagrant up (README.md)",
    )]
}

/// Those at the beginning of a release's name.
fn numbers(release: &str) -> Vec<u32> {
    let numbers = release.split(|c: char| !c.is_ascii_digit());
    numbers.map_while(|number| number.parse().ok()).collect()
}

/// The kinds of namespaces: as files are called, as people say, and the step from which on there are any.
const KINDS: [(&str, &str, u8); 7] = [
    ("uts", "UTS", 2),
    ("pid", "PID", 4),
    ("mnt", "mount", 7),
    ("ipc", "IPC", 8),
    ("net", "network", 8),
    ("user", "user", 9),
    ("cgroup", "cgroup", 10),
];

fn namespaces(machine: &Machine) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, _, step) in KINDS {
        if machine.file(format!("/proc/self/ns/{name}")).symlink_metadata().is_err() {
            problems.push(problem(
                step..=STEPS,
                format!("The kernel was built without {name} namespaces."),
                "Use a kernel of a distribution, or the VM: vagrant up (README.md)",
            ));
        }
    }
    problems
}

/// Each kind of namespace has a limit of its own (namespaces(7)).
fn namespace_limits(machine: &Machine) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, kind, step) in KINDS {
        let key = format!("max_{name}_namespaces");
        let limit = machine.read(&format!("/proc/sys/user/{key}"));
        // Some are in use already.
        if limit.and_then(|limit| limit.parse::<u64>().ok()).is_some_and(|limit| limit < 3) {
            problems.push(problem(
                step..=STEPS,
                format!("No {kind} namespaces may be made here (user.{key}): ENOSPC, \"No space left on device\"."),
                format!("sudo sysctl user.{key}=15000"),
            ));
        }
    }
    problems
}

/// pivot_root(2) wants a mount point as root, and user namespaces are not for who is in a chroot (unshare(2), EPERM).
fn in_a_chroot(machine: &Machine) -> Vec<Problem> {
    let mounts = machine.mounts();
    if mounts.is_empty() || mounts.iter().any(|mount| mount.point == Path::new("/")) {
        return Vec::new();
    }
    vec![problem(
        7..=STEPS,
        "You are in a chroot: what is the root directory here is no mount.",
        "Leave it, or use the VM (vagrant up). Where it is meant to stay: systemd-nspawn -D FOLDER, for example.",
    )]
}

/// Why the sudo that is there does not work, if a file tells.
fn broken_sudo(machine: &Machine) -> Option<(String, &'static str)> {
    let status = machine.read("/proc/self/status").unwrap_or_default();
    if status.lines().any(|line| line == "NoNewPrivs:\t1") {
        let cure = "In a container: start it without no-new-privileges. In an editor's terminal: use another one.";
        return Some(("\"no new privileges\" is set, so sudo cannot make you root.".into(), cure));
    }
    let sudo = machine.program("sudo")?;
    let data = fs::metadata(machine.file(&sudo)).ok()?;
    if data.mode() & 0o4000 == 0 {
        let what =
            format!("{} has lost its set-user-ID bit: it cannot make you root.", sudo.display());
        return Some((
            what,
            "Become root (su -), and install it again: apt install --reinstall sudo",
        ));
    }
    let mounts = machine.mounts();
    let mount = holding(&mounts, &sudo).filter(|mount| mount.has("nosuid"))?;
    let what = format!(
        "{} lies on {}, which is mounted with nosuid: it cannot make you root.",
        sudo.display(),
        mount.point.display()
    );
    Some((what, "Become root (su -), and: mount -o remount,suid THERE"))
}

fn root(machine: &Machine) -> Vec<Problem> {
    let takes_root = (2..=8).chain([10]);
    let mut problems = capabilities(machine);
    if machine.uid == 0 {
        return problems;
    }
    let by = machine.program("sudo").or(machine.program("doas"));
    problems.push(if let Some((what, cure)) = broken_sudo(machine) {
        problem(takes_root, what, cure)
    } else if by.is_some() {
        let what = "You are not root. Steps 02 to 08 and 10 take root, step 09 does not.";
        let cure = "Nothing to do: cargo run asks for sudo by itself.";
        Problem { sudo_helps: true, ..problem(takes_root, what, cure) }
    } else {
        let what = "You are not root, and there is no sudo.";
        problem(takes_root, what, "Become root (su -), or install sudo.")
    });
    problems
}

/// What root may do here: in a container that is less.
fn capabilities(machine: &Machine) -> Vec<Problem> {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    const CAP_SETFCAP: u64 = 1 << 31;
    let status = machine.read("/proc/self/status").unwrap_or_default();
    // What sudo gives is no more than the bounding set (capabilities(7)).
    let (set, who) = match machine.uid {
        0 => ("CapEff:", "You are root, but"),
        _ => ("CapBnd:", "Also with sudo you are"),
    };
    let line = status.lines().find_map(|line| line.strip_prefix(set));
    let Some(set) = line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()) else {
        return Vec::new();
    };
    let filtered = status.contains("\nSeccomp:\t2");
    let mut problems = Vec::new();
    if set & CAP_SYS_ADMIN == 0 {
        // In a user namespace there is all of it again; unless a filter (seccomp(2), as Docker has one) forbids to
        // make one.
        problems.push(problem(
            2..=if filtered { STEPS } else { 8 },
            format!("{who} without CAP_SYS_ADMIN: probably in a container yourself."),
            PRIVILEGED,
        ));
    } else if filtered {
        // Docker's lets who has CAP_SYS_ADMIN mount, but not pivot_root(2). Others have other filters.
        let what = "A filter of system calls (seccomp) is at work here, and may be what refuses this: probably you \
            are in a container yourself.";
        let cure = "Use the VM (vagrant up), or start that container with --security-opt seccomp=unconfined.";
        problems.push(Problem { perhaps: true, ..problem(2..=STEPS, what, cure) });
    }
    // user_namespaces(7). In step 09 only a root maps root: others map themselves.
    let release = machine.read("/proc/sys/kernel/osrelease").unwrap_or_default();
    if set & CAP_SETFCAP == 0 && numbers(&release) >= vec![5, 12] {
        problems.push(problem(
            if machine.uid == 0 { 9..=STEPS } else { STEPS..=STEPS },
            format!(
                "{who} without CAP_SETFCAP: probably in a container yourself. Without it nobody may map root into a \
                 user namespace (since Linux 5.12).",
            ),
            PRIVILEGED,
        ));
    }
    problems
}

/// Where mounts are shared, step 07 without MS_PRIVATE mounts the root filesystem over everybody's root directory. From
/// then on nobody has the root of his mount namespace as root directory, as user_namespaces(7) wants it (EPERM).
fn lid(machine: &Machine) -> Vec<Problem> {
    let mounts = Mounts::of(machine);
    let Some(top) = mounts.lids.last() else { return Vec::new() };
    let (what, cure) = if mounts.shows(top, &machine.rootfs) {
        (
            "The root filesystem lies over /, like a lid: step 07 without MS_PRIVATE was run here."
                .into(),
            "cargo workshop doctor --fix   (takes it off)",
        )
    } else {
        (
            format!("A folder lies over /, like a lid: {} of {}.", top.top.display(), top.device),
            "First see what it is: ls /..   Then take it off: sudo umount -c -l /..",
        )
    };
    let then = "Paths begin below it; `ls /..` shows it. Under a lid the kernel gives nobody a user namespace.";
    vec![problem([9, 10], format!("{what} {then}"), cure)]
}

fn user_namespaces(machine: &Machine) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, off, why) in [
        ("kernel/unprivileged_userns_clone", "0", "User namespaces are only for root here"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "AppArmor lets nobody but root mount in a user namespace",
        ),
    ] {
        if machine.uid != 0 && machine.read(&format!("/proc/sys/{key}")).as_deref() == Some(off) {
            let name = key.replace('/', ".");
            let on = if off == "0" { 1 } else { 0 };
            problems.push(problem(
                [9],
                format!("{why} ({name} is {off})."),
                format!("sudo sysctl {name}={on}"),
            ));
        }
    }
    problems
}

fn cgroups(machine: &Machine) -> Vec<Problem> {
    let top = machine.file("/sys/fs/cgroup");
    let needed = ["pids", "memory", "cpu"];
    let mounts = machine.mounts();
    let readonly = mounts.iter().any(|mount| mount.kind.starts_with("cgroup") && mount.has("ro"));
    let words = |file: &Path| -> Vec<String> {
        fs::read_to_string(file).unwrap_or_default().split_whitespace().map(String::from).collect()
    };
    let (missing, enable) = if top.join("cgroup.controllers").is_file() {
        let (there, enabled) =
            (words(&top.join("cgroup.controllers")), words(&top.join("cgroup.subtree_control")));
        let missing: Vec<&str> =
            needed.into_iter().filter(|name| !there.iter().any(|word| word == name)).collect();
        let off: Vec<&str> = needed
            .into_iter()
            .filter(|name| !missing.contains(name) && !enabled.iter().any(|word| word == name))
            .collect();
        (missing, off)
    } else {
        let missing =
            needed.into_iter().filter(|name| !top.join(name).join("tasks").is_file()).collect();
        (missing, Vec::new())
    };
    if missing.len() == needed.len() {
        let what = "There are no cgroups with controllers in /sys/fs/cgroup: no limits.";
        return vec![problem([10], what, "Use the VM: vagrant up (README.md)")];
    }
    if !missing.is_empty() {
        let what = format!("The kernel has no cgroup controller for: {}.", missing.join(", "));
        let cure = "Add cgroup_enable=memory to the kernel's command line (Raspberry Pi), or use the VM: vagrant up";
        return vec![problem([10], what, cure)];
    }
    if readonly {
        let what = "/sys/fs/cgroup is mounted read-only: probably you are in a container yourself.";
        return vec![problem([10], what, PRIVILEGED)];
    }
    if !enable.is_empty() {
        let what =
            format!("The root cgroup does not hand on its controllers: {}.", enable.join(", "));
        let plus: Vec<String> = enable.iter().map(|name| format!("+{name}")).collect();
        let plus = plus.join(" ");
        // No root, but a container's: there it takes a cgroup without processes of its own (cgroups(7), EBUSY). One of
        // those that are listed has ended by then: cat.
        let cure = if top.join("cgroup.type").exists() {
            format!(
                "sudo sh -c 'cd /sys/fs/cgroup; mkdir -p others; for p in $(cat cgroup.procs); do \
                 echo $p >others/cgroup.procs 2>/dev/null; done; echo {plus} >cgroup.subtree_control'"
            )
        } else {
            format!("echo '{plus}' | sudo tee /sys/fs/cgroup/cgroup.subtree_control")
        };
        return vec![problem([10], what, cure)];
    }
    Vec::new()
}

fn propagation(machine: &Machine) -> Vec<Problem> {
    let mounts = machine.mounts();
    let Some(root) = mounts.iter().rev().find(|mount| mount.point == Path::new("/")) else {
        return Vec::new();
    };
    if root.shared {
        return Vec::new();
    }
    vec![problem(
        [],
        "The mounts of this machine are private, not shared as systemd makes them: you will not see why step 07 has to \
         make them private.",
        "sudo mount --make-rshared /   (until the next boot)",
    )]
}

fn masked_proc(machine: &Machine) -> Vec<Problem> {
    let proc = Path::new("/proc");
    let mounts = machine.mounts();
    // What lies on a folder that is always empty hides nothing.
    let over = mounts.iter().find(|mount| {
        mount.point.starts_with(proc)
            && mount.point != proc
            && mount.point != proc.join("sys/fs/binfmt_misc")
    });
    let Some(over) = over else { return Vec::new() };
    vec![problem(
        9..=STEPS,
        format!(
            "Parts of /proc are hidden ({}): the kernel then refuses a new one in a user namespace.",
            over.point.display()
        ),
        "You are in a container: use the VM (vagrant up), or start it with --security-opt systempaths=unconfined.",
    )]
}

fn root_filesystem(machine: &Machine) -> Vec<Problem> {
    let rootfs = machine.file(&machine.rootfs);
    let shown = machine.rootfs.display();
    if !rootfs.exists() {
        return vec![problem(
            [],
            format!("There is no root filesystem yet ({shown}), which steps 05 to 10 need."),
            "./rootfs-fetch.sh   (cargo run does it by itself)",
        )];
    }
    let mut problems = Vec::new();
    let absent: Vec<&str> = ["bin/sh", "proc", "dev"]
        .into_iter()
        .filter(|name| rootfs.join(name).symlink_metadata().is_err())
        .collect();
    if !absent.is_empty() {
        problems.push(problem(
            5..=STEPS,
            format!("The root filesystem {shown} is not complete: {} missing.", absent.join(", ")),
            "./rootfs-fetch.sh   (it says what to do)",
        ));
    } else if let Some(other) = machine_of(&rootfs).filter(|arch| *arch != machine.arch) {
        problems.push(problem(
            5..=STEPS,
            format!(
                "The root filesystem {shown} is for {other}, and this machine is {}.",
                machine.arch
            ),
            "./rootfs-fetch.sh --force",
        ));
    }
    if let Some(mount) = holding(&machine.mounts(), &machine.rootfs) {
        let foreign = ["vboxsf", "9p", "virtiofs", "nfs", "nfs4", "cifs", "prl_fs", "vmhgfs"];
        if foreign.contains(&mount.kind.as_str()) || mount.kind.starts_with("fuse") {
            problems.push(problem(
                5..=STEPS,
                format!(
                    "The root filesystem {shown} lies on a shared folder ({}), which knows neither its links nor its \
                     owners.",
                    mount.kind
                ),
                "export ROOTFS=$HOME/rootfs && ./rootfs-fetch.sh",
            ));
        } else if mount.has("noexec") {
            problems.push(problem(
                5..=STEPS,
                format!(
                    "The root filesystem {shown} lies on {}, where nothing may be executed (noexec).",
                    mount.point.display()
                ),
                "export ROOTFS=$HOME/rootfs && ./rootfs-fetch.sh",
            ));
        }
    }
    problems
}

/// The mount that a path lies on, of those that there are: the last one of the deepest.
fn holding<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let mounts = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    mounts.max_by_key(|mount| mount.point.components().count())
}

/// The processor that the shell of a root filesystem was built for, if it says so (elf(5): e_machine).
fn machine_of(rootfs: &Path) -> Option<&'static str> {
    let mut path = rootfs.join("bin/sh");
    for _ in 0..8 {
        let Ok(link) = fs::read_link(&path) else { break };
        // An absolute link counts from the root filesystem.
        path = match link.strip_prefix("/") {
            Ok(inside) => rootfs.join(inside),
            Err(_) => path.parent()?.join(link),
        };
    }
    let bytes = fs::read(path).ok()?;
    if !bytes.starts_with(b"\x7fELF") {
        return None;
    }
    match u16::from_le_bytes([*bytes.get(18)?, *bytes.get(19)?]) {
        3 => Some("x86"),
        62 => Some("x86_64"),
        183 => Some("aarch64"),
        40 => Some("arm"),
        243 => Some("riscv64"),
        _ => Some("another processor"),
    }
}

/// The checks, and cargo, work in a folder for temporary files.
fn temporary(machine: &Machine) -> Vec<Problem> {
    let folder = machine.file(&machine.temporary);
    if access(&folder, AccessFlags::W_OK | AccessFlags::X_OK).is_ok() && folder.is_dir() {
        return Vec::new();
    }
    vec![problem(
        [],
        format!(
            "Nothing can be written in {}, the folder for temporary files.",
            machine.temporary.display()
        ),
        "unset TMPDIR, or: export TMPDIR=/var/tmp",
    )]
}

/// Where cargo has put this program.
fn built_in() -> Option<PathBuf> {
    Some(env::current_exe().ok()?.ancestors().nth(2)?.to_path_buf())
}

/// What this machine lacks for checks, and the cure: nobody's program is to be blamed for that.
pub fn can_check(repo: &Repo) -> anyhow::Result<()> {
    let machine = this_machine(repo);
    let mut problems = temporary(&machine);
    let missing = NEEDED.iter().filter(|(name, _)| !machine.has_program(name));
    problems.extend(missing.map(|(name, package)| {
        problem([], format!("There is no {name} on this machine, which the checks need."), {
            format!("sudo apt install {package}   (elsewhere: what has the program {name})")
        })
    }));
    match problems.first() {
        None => Ok(()),
        Some(Problem { what, cure, .. }) => {
            anyhow::bail!("{what} Your program was not looked at. {cure}")
        }
    }
}

/// What checks start, also inside of the learner's container, and Debian's package.
const NEEDED: &[(&str, &str)] = &[
    ("find", "findutils"),
    ("hostname", "hostname"),
    ("ip", "iproute2"),
    ("ipcmk", "util-linux"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("prlimit", "util-linux"),
    ("ps", "procps"),
    ("setpriv", "util-linux"),
    ("setsid", "util-linux"),
    ("unshare", "util-linux"),
];

/// What is typed in the guide, or needed by the tools: alternatives, Debian's package, what for.
const PROGRAMS: &[(&[&str], &str, &str)] = &[
    (&["git"], "git", "cargo workshop diff and compare"),
    (&["unshare", "nsenter", "setpriv", "prlimit", "ipcmk"], "util-linux", "the checks and tests"),
    (&["script"], "bsdutils", "the checks of the terminal"),
    (&["ip"], "iproute2", "step 08, and the checks and tests"),
    (&["ps"], "procps", "seeing anything from step 04 on"),
    (&["hostname"], "hostname", "seeing anything in step 02"),
    (&["strace"], "strace", "watching system calls in chapter 06"),
    (&["man"], "man-db manpages manpages-dev", "reading on: unshare(2), namespaces(7)"),
];

fn programs(machine: &Machine) -> Vec<Problem> {
    let mut missing = Vec::new();
    let mut packages = Vec::new();
    for (names, package, what_for) in PROGRAMS {
        let absent: Vec<_> =
            names.iter().filter(|name| !machine.has_program(name)).copied().collect();
        if !absent.is_empty() {
            missing.push(format!("{} (for {what_for})", absent.join(", ")));
            packages.push(*package);
        }
    }
    if !machine.has_program("curl") && !machine.has_program("wget") {
        missing.push("curl or wget (to have Alpine Linux as root filesystem)".into());
        packages.push("curl ca-certificates");
    }
    if missing.is_empty() {
        return Vec::new();
    }
    let cure = if machine.has_program("apt") {
        format!("sudo apt install {}", packages.join(" "))
    } else {
        format!("Install what is called, in Debian: {}", packages.join(" "))
    };
    vec![problem([], format!("Programs are missing: {}.", missing.join("; ")), cure)]
}

/// What is root's in the learner's tree: cargo was run with sudo, or git was.
fn of_root(machine: &Machine) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (folder, steps, what) in [
        (machine.target.clone(), Step::all().map(Step::number).collect(), "cargo cannot build"),
        (
            machine.repository.join("my-container"),
            Vec::new(),
            "cargo workshop catch-up cannot write",
        ),
        (machine.repository.join(".git"), Vec::new(), "git cannot write"),
    ] {
        let theirs = somebody_elses(machine.uid, &machine.file(&folder), 3);
        if let Some(theirs) = theirs.filter(|_| machine.uid != 0) {
            problems.push(problem(
                steps,
                format!(
                    "In {} is what belongs to somebody else (was something run with sudo?): {what}.",
                    folder.display()
                ),
                owner::cure(&folder, theirs),
            ));
        }
    }
    problems
}

/// Whose a folder is, or something in it so many folders deep, if not this user's.
fn somebody_elses(uid: u32, path: &Path, depth: u32) -> Option<u32> {
    let data = path.symlink_metadata().ok()?;
    if data.uid() != uid {
        return Some(data.uid());
    }
    let inside = fs::read_dir(path).ok().filter(|_| data.is_dir() && depth > 0)?;
    inside.flatten().find_map(|entry| somebody_elses(uid, &entry.path(), depth - 1))
}

mod leftovers;
#[cfg(test)]
mod tests;
mod trial;
