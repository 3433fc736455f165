//! What a check has at hand: the learner's program on a classroom host, and views of it from outside.
//!
//! Everything ends: a run has a deadline, and whoever forks or prints without end is stopped earlier. The classroom host
//! goes afterwards, and with it every process and mount.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use classroom::Cgroups;
use classroom::Host;
use classroom::Missing;
use nix::sys::signal::Signal;

use crate::Failure;

/// How long a program may take for what takes milliseconds: so many times what it took to make the host, within limits.
/// A machine that is loaded, or emulated, is slow in both.
const PATIENCE: u32 = 100;
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(60);
/// How often to look whether it forks without end, or whether what should happen has happened.
const GLANCE: Duration = Duration::from_millis(20);
/// More processes than any check needs.
const MANY: usize = 200;
/// More bytes than any check makes a program print.
const FLOOD: usize = 1 << 20;

/// A file that the lab puts into the root filesystem.
pub const NULL: &str = "/workshop/rootfs/dev/null";

/// A learner's program on a classroom host.
pub struct Lab {
    host: Host,
    deadline: Duration,
    mounts: Cell<Option<usize>>,
    soiled: Cell<bool>,
    // Below the host: fields are dropped in this order.
    seen: Seen,
    /// Where the program makes its cgroups, if this is root.
    _cgroups: Option<Cgroups>,
}

impl Lab {
    /// A fresh host with this program on it.
    ///
    /// # Errors
    /// As [`Host::start`].
    pub fn new(program: &Path) -> Result<Lab, Missing> {
        let start = Instant::now();
        let host = Host::start(program)?;
        // Without them (an ordinary user, a container) the program has to say itself what it cannot do.
        let cgroups = Cgroups::on(&host).ok();
        let lab = Lab {
            host,
            deadline: (start.elapsed() * PATIENCE).clamp(SHORTEST, LONGEST),
            mounts: Cell::new(None),
            soiled: Cell::new(false),
            seen: Seen::default(),
            _cgroups: cgroups,
        };
        // Alpine's shell cannot start anything in the background without it, and steps 05 and 06 have no /dev yet.
        let null = lab.host.path(NULL);
        if !null.exists() {
            _ = fs::write(null, "");
        }
        lab.mounts.set(Some(lab.mounts().len()));
        Ok(lab)
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Says that the host is no longer as it was.
    pub fn soil(&self) {
        self.soiled.set(true);
    }

    /// Whether the next check may use this host.
    pub fn is_clean(&self) -> bool {
        !self.soiled.get()
            && self.processes().len() == 1
            && Some(self.mounts().len()) == self.mounts.get()
    }

    /// The program's path on the host.
    pub fn program(&self) -> String {
        format!("/workshop/{}", self.host.program())
    }

    /// Runs `program run ARGS` to its end.
    ///
    /// # Errors
    /// If it has no end.
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Done, Failure> {
        self.start(args)?.end()
    }

    /// Starts `program run ARGS`.
    ///
    /// # Errors
    /// If this machine cannot start anything any more.
    pub fn start<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Running<'_>, Failure> {
        let mut argv = vec![OsString::from(self.program()), "run".into()];
        argv.extend(args.iter().map(|arg| arg.as_ref().to_os_string()));
        self.start_as(None, &argv)
    }

    /// Starts any command line on the host; shows it as `shown`, or as it is.
    ///
    /// # Errors
    /// As [`start`](Lab::start).
    pub fn start_as(&self, shown: Option<&str>, argv: &[OsString]) -> Result<Running<'_>, Failure> {
        self.spawn(shown, argv, false)
    }

    /// As [`start_as`](Lab::start_as), as an ordinary user.
    ///
    /// # Errors
    /// As [`start`](Lab::start).
    pub fn start_as_learner(&self, argv: &[OsString]) -> Result<Running<'_>, Failure> {
        self.spawn(None, argv, true)
    }

    fn spawn(
        &self,
        shown: Option<&str>,
        argv: &[OsString],
        learner: bool,
    ) -> Result<Running<'_>, Failure> {
        // The shell says which process becomes the program: nsenter(1) forks.
        let note = format!("/tmp/runner-{}", self.host.processes().len());
        _ = fs::remove_file(self.host.path(&note));
        let script = format!("echo $$ >{note}; exec \"$@\"");
        let mut all = vec![OsString::from("sh"), "-c".into(), script.into(), "sh".into()];
        all.extend_from_slice(argv);
        let mut command = if learner { self.host.learner(&all) } else { self.host.command(&all) };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let did = shown.map_or_else(|| self.line(argv), String::from);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(err) => {
                return Err(Failure {
                    did,
                    expected: "it starts".into(),
                    got: format!("it cannot be started: {err}"),
                    cause: "this machine is out of processes or memory".into(),
                });
            }
        };
        // Bounded: a program that prints without end is to wait for us, not to fill the memory.
        let (sender, events) = sync_channel(64);
        let input = child.stdin.take();
        relay(child.stdout.take(), Event::Out, &sender);
        relay(child.stderr.take(), Event::Err, &sender);
        reap(child, sender);
        let command = argv.iter().skip(2).cloned().collect();
        let note = self.host.path(&note);
        let glanced = Instant::now();
        let (stdout, stderr) = Default::default();
        Ok(Running {
            lab: self,
            did,
            command,
            input,
            events,
            stdout,
            stderr,
            seen: 0,
            open: 2,
            status: None,
            note,
            glanced,
        })
    }

    /// Starts a container that stays until [`Held::release`]: `sh -c 'SCRIPT; echo ready; read line'`.
    ///
    /// # Errors
    /// If it does not get that far.
    pub fn hold<S: AsRef<OsStr>>(&self, options: &[S], script: &str) -> Result<Held<'_>, Failure> {
        let script = format!("{script}echo ready; read line");
        let mut args: Vec<OsString> =
            options.iter().map(|option| option.as_ref().to_os_string()).collect();
        args.extend(["sh", "-c", &script].map(OsString::from));
        let mut running = self.start(&args)?;
        running.command = ["sh", "-c", &script].map(OsString::from).to_vec();
        let before = running.until("ready\n")?;
        let runner = running.runner();
        let Some(command) = running.inside() else {
            return Err(running.wrong(
                "the command runs",
                "it runs, but not as a process of its own",
                UNSEEN,
            ));
        };
        crate::step10::remember_all(self, command);
        Ok(Held { before, runner, command, running })
    }

    /// Why the command did not run, if that shows in what the program said, and in experiments.
    pub fn why(&self, done: &Done) -> Option<String> {
        let said = &excerpt(&done.stderr);
        let has = |text: &str| said.contains(text);
        let denied = has("Operation not permitted") || has("EPERM") || has("Permission denied");
        if self.mounts.get().is_some_and(|before| (1..before).contains(&self.mounts().len())) {
            return Some(UNMOUNTED.into());
        }
        let procs = self.mounts().iter().filter(|(point, _)| point == "/proc").count();
        if has("/proc") && procs != 1 {
            return Some(PROC_ON_HOST.into());
        }
        if has("/proc/self") && has("No such file") {
            return Some("/proc/self/exe is not there (if it is spelled like that): chroot(2) was called in `run`, before your program started \
                    itself again. Change the root in `child`, after the re-exec"
                .into());
        }
        if has("mount /proc") && (has("ENOENT") || has("No such file")) {
            return Some("ENOENT: there is no folder `proc` in the working directory, which is not the new root yet: chdir(\"/..\") \
                    after the root filesystem was mounted over \"/\" (or into it, if it was mounted on itself)"
                .into());
        }
        if has("unmount /proc") && (has("EINVAL") || has("Invalid argument")) {
            return Some("EINVAL: nothing is mounted there. mount(2), with the type proc, has to come before the command, and \
                    umount2(2) after it, both with the same path"
                .into());
        }
        if has("No space left on device") || has("Cannot allocate memory") {
            return Some("namespaces in namespaces, until the kernel says ENOSPC (or ENOMEM: the first child of a new PID \
                    namespace is PID 1, and when it has died there are no others). Does `child` start another child, \
                    where it should start the command?"
                .into());
        }
        if ["Invalid argument", "EINVAL", "resource busy", "EBUSY"].iter().any(|text| has(text)) {
            return Some(self.why_invalid(said));
        }
        if denied && (has("_map") || has("setgroups")) {
            return Some(why_no_map(said));
        }
        if denied && has("cgroup") {
            return Some(
                "EPERM: only root may make a cgroup (or whom root has given one): use sudo".into(),
            );
        }
        if denied {
            return Some(self.why_denied(done));
        }
        None
    }

    /// Why the command did not run, or not as it should.
    pub fn why_not_run(&self, done: &Done) -> String {
        if let Some(cause) = self.why(done) {
            return cause;
        }
        let said = &done.stderr;
        let has = |text: &str| said.contains(text);
        if has("nothing is here yet") {
            return "nothing is typed yet: `run` has to start the command (fork(2) and execve(2): Command::spawn), and \
                    wait for it"
                .into();
        }
        match done.status {
            Some(0) => "the command was not started: `run` has to start it with Command::spawn (fork(2) and execve(2)), \
                        and its stdin, stdout and stderr have to be those of your program",
            Some(127) => "the command was not found (ENOENT): it is looked up in PATH, inside; is PATH set, and is this \
                          the right root directory?",
            _ if excerpt(said).is_empty() => {
                "the command did not run, and your program does not say why: print the error in main"
            }
            _ => "your program stopped before the command ran; its message above says at what",
        }
        .into()
    }

    /// pivot_root(2) has one errno for many mistakes: two experiments tell them apart.
    fn why_invalid(&self, said: &str) -> String {
        self.soil();
        let works_after = |script: &str| {
            self.host.run(script);
            self.run(&["echo", "it runs"]).is_ok_and(|done| done.stdout == "it runs\n")
        };
        if works_after("mount --bind rootfs rootfs") {
            return "pivot_root(2) wants a mount point as the new root, and the root filesystem is just a \
                    directory. Mount it first (MS_BIND), on \"/\" or on itself"
                .into();
        }
        if works_after("mount --make-rprivate /") {
            return "EINVAL: the mount that the new root lies on is shared, and pivot_root(2) refuses that. Make all mounts \
                    private: mount(2) on \"/\" with MS_PRIVATE *and* MS_REC (without it, only \"/\" itself becomes private), \
                    in the new mount namespace, before the first mount"
                .into();
        }
        if ["resource busy", "EBUSY"].iter().any(|text| said.contains(text)) {
            return "EBUSY: to pivot_root(2) the new root is the old one. Is the working directory on the new mount? chdir(\"/..\") \
                    after it was mounted over \"/\" (\"/\" is what lies below it); and no chroot(2) any more"
                .into();
        }
        "EINVAL: a system call got what it cannot use; its manual page lists the reasons under ERRORS".into()
    }

    /// EPERM has many reasons, too. A program that gets equally far without root has a user namespace.
    fn why_denied(&self, done: &Done) -> String {
        let line = argv(&[&*self.program(), "run", "echo", "it runs"]);
        let same = self
            .start_as_learner(&line)
            .and_then(Running::end)
            .is_ok_and(|other| excerpt(&other.stderr) == excerpt(&done.stderr));
        if same {
            return NOT_ROOT_INSIDE.into();
        }
        "EPERM: your program may not do that. Everything but step 09 takes root (sudo), and what belongs to a namespace may only \
         be changed by who is root in the user namespace that it was made in: CLONE_NEWUSER comes first, or in the same call"
            .into()
    }

    /// Whether the program has taken the host's root away from it.
    pub fn is_lost(&self) -> Option<Failure> {
        if self.host.path("/workshop").is_dir() {
            return None;
        }
        Some(Failure {
            did: format!("{} run echo hello", self.host.program()),
            expected: "the host keeps its root directory and its mounts".into(),
            got: "the host's own root directory was exchanged for the root filesystem".into(),
            cause: "your program was still in the host's mount namespace when it called mount(2) and pivot_root(2), and \
                    pivot_root(2) moves every process there: call unshare(CLONE_NEWNS) in `child` first"
                .into(),
        })
    }

    /// A command line as a person would type it.
    fn line(&self, argv: &[OsString]) -> String {
        let mut words = Vec::new();
        for (place, arg) in argv.iter().enumerate() {
            let arg = arg.to_string_lossy();
            let arg = if place == 0 { arg.trim_start_matches("/workshop/") } else { &*arg };
            let plain = |c: char| c.is_alphanumeric() || "-_./=%+:,".contains(c);
            words.push(if !arg.is_empty() && arg.chars().all(plain) {
                arg.to_string()
            } else {
                format!("'{}'", arg.replace('\'', r"'\''"))
            });
        }
        words.join(" ")
    }

    /// The host's processes.
    pub fn processes(&self) -> Vec<Process> {
        let mut list = Vec::new();
        for (pid, _) in self.host.processes() {
            list.extend(self.process(pid));
        }
        list
    }

    fn process(&self, pid: u32) -> Option<Process> {
        let stat = fs::read_to_string(self.proc(pid, "stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let zombie = fields.next()? == "Z";
        let parent = fields.next()?.parse().ok()?;
        let args = fs::read(self.proc(pid, "cmdline")).unwrap_or_default();
        let args =
            args.split(|byte| *byte == 0).map(|arg| String::from_utf8_lossy(arg).into_owned());
        let mut args: Vec<String> = args.collect();
        args.pop();
        Some(Process { pid, parent, zombie, args })
    }

    /// A file of a process, as the host's /proc has it.
    pub fn proc(&self, pid: u32, file: &str) -> PathBuf {
        self.host.path(&format!("/proc/{pid}/{file}"))
    }

    /// The namespace of a process: `uts:[4026531838]`. Empty if the process is gone.
    pub fn namespace(&self, pid: u32, kind: &str) -> String {
        let link = fs::read_link(self.proc(pid, &format!("ns/{kind}"))).unwrap_or_default();
        link.to_string_lossy().into_owned()
    }

    /// The numbers of a process in the PID namespaces that it is in, the innermost last.
    pub fn numbers(&self, pid: u32) -> Vec<u32> {
        let status = fs::read_to_string(self.proc(pid, "status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        line.split_whitespace().filter_map(|number| number.parse().ok()).collect()
    }

    /// What is mounted on the host: mount point and type, in the order of mounting.
    pub fn mounts(&self) -> Vec<(String, String)> {
        self.mounts_of(1)
    }

    /// What is mounted for a process.
    pub fn mounts_of(&self, pid: u32) -> Vec<(String, String)> {
        let table = fs::read_to_string(self.proc(pid, "mountinfo")).unwrap_or_default();
        let mut list = Vec::new();
        for line in table.lines() {
            let point = line.split(' ').nth(4).unwrap_or_default();
            let kind = line.split(" - ").nth(1).and_then(|rest| rest.split(' ').next());
            list.push((point.to_string(), kind.unwrap_or_default().to_string()));
        }
        list
    }

    /// The mounts that the host has now and did not have before.
    pub fn mounts_since(&self, before: &[(String, String)]) -> Vec<(String, String)> {
        let mut rest = before.to_vec();
        let mut new = Vec::new();
        for mount in self.mounts() {
            match rest.iter().position(|known| *known == mount) {
                Some(place) => _ = rest.swap_remove(place),
                None => new.push(mount),
            }
        }
        new
    }

    /// Waits until something is the case. False if it is not until the deadline.
    pub fn wait_until(&self, mut is: impl FnMut() -> bool) -> bool {
        let end = Instant::now() + self.deadline / 4;
        loop {
            if is() {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            thread::sleep(GLANCE);
        }
    }

    /// Remembers a cgroup that this lab has caused, to be removed with it.
    pub fn remember(&self, cgroup: PathBuf) {
        self.seen.0.borrow_mut().insert(cgroup);
    }
}

/// Cgroups that a command was seen in. They are removed when the host is gone, and with it their processes: a program
/// may have made them where the host has none of its own.
#[derive(Default)]
struct Seen(RefCell<BTreeSet<PathBuf>>);

impl Drop for Seen {
    fn drop(&mut self) {
        for dir in self.0.borrow().iter() {
            // EBUSY until the kernel has buried the last process.
            for _ in 0..100 {
                if fs::remove_dir(dir).is_ok() || !dir.is_dir() {
                    break;
                }
                thread::sleep(GLANCE);
            }
        }
    }
}

/// Why /proc is not in the root filesystem.
pub const PROC_ON_HOST: &str = "proc was mounted on the host's /proc: mount(2) was called before chroot(2), when \"/proc\" was still \
                                the host's. Mount after the root has changed (or on the proc folder of the root filesystem)";

/// Why the host has fewer mounts than before.
const UNMOUNTED: &str = "your program has unmounted what the host still needs, /dev/pts for example: only \"/\" was made private, and \
                         detaching the old root has unmounted everything below it on the host as well. Make *all* mounts private: \
                         MS_REC | MS_PRIVATE. MS_PRIVATE alone concerns only the one that is mounted on \"/\"";

/// Why maps of users and groups cannot be written.
pub fn why_no_map(said: &str) -> String {
    if said.contains("gid_map") {
        "EPERM: an ordinary user may map a group only when setgroups(2) is given up: write \"deny\" to /proc/self/setgroups \
         *before* gid_map"
    } else if said.contains("uid_map") {
        "EPERM: an ordinary user may map only his own number, and only one: `0 UID 1`, with the UID from before unshare(2) \
         (afterwards geteuid(2) says 65534), written once, by a process in the new namespace"
    } else {
        "EPERM: /proc/self/setgroups cannot be changed any more once gid_map is written: first setgroups, then gid_map"
    }
    .into()
}

/// Why a program with a user namespace may do nothing in it.
pub const NOT_ROOT_INSIDE: &str = "EPERM: there is a user namespace, but your program is not root in it. execve(2) drops all \
                                   capabilities, unless the user is mapped to 0: write `0 UID 1` to /proc/self/uid_map before \
                                   you start yourself again";

/// Why a command is not to be found among the host's processes.
const UNSEEN: &str = "the command runs inside another process, or under another name: it has to be started with execve(2), \
                      with exactly the arguments that stand behind `run`";

/// A process, as the host sees it.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its number on the host.
    pub pid: u32,
    /// Its parent's number on the host.
    pub parent: u32,
    /// Whether it has ended, and nobody has waited for it yet.
    pub zombie: bool,
    /// Its arguments.
    pub args: Vec<String>,
}

enum Event {
    Out(Vec<u8>),
    Err(Vec<u8>),
    Closed,
    Ended(ExitStatus),
}

/// A run that has not ended yet.
pub struct Running<'a> {
    lab: &'a Lab,
    did: String,
    command: Vec<OsString>,
    input: Option<ChildStdin>,
    events: Receiver<Event>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    seen: usize,
    open: u8,
    status: Option<ExitStatus>,
    note: PathBuf,
    glanced: Instant,
}

impl<'a> Running<'a> {
    /// Sends a line.
    pub fn say(&mut self, line: &str) {
        if let Some(input) = &mut self.input {
            // Whether it was read shows in what comes back.
            _ = writeln!(input, "{line}");
        }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        if let Some(input) = &mut self.input {
            _ = input.write_all(bytes);
        }
    }

    /// The runner's number on the host.
    pub fn runner(&self) -> u32 {
        let pid = fs::read_to_string(&self.note).ok().and_then(|pid| pid.trim().parse().ok());
        pid.unwrap_or(0)
    }

    /// The number on the host of the process that the container is there for.
    pub fn inside(&self) -> Option<u32> {
        let list = self.lab.processes();
        list.iter()
            .rev()
            .find(|process| self.command.iter().eq(process.args.iter().map(OsStr::new)))
            .map(|p| p.pid)
    }

    /// Sends a signal to the runner.
    pub fn signal(&self, signal: Signal) {
        let number = self.runner();
        if number != 0 {
            self.lab.host.run(&format!("kill -{} {number}", signal as i32));
        }
    }

    /// Reads stdout until this comes; returns what came before it.
    ///
    /// # Errors
    /// If it does not come.
    pub fn until(&mut self, pattern: &str) -> Result<String, Failure> {
        let end = Instant::now() + self.lab.deadline;
        loop {
            let new = &self.stdout[self.seen..];
            if let Some(at) = new.windows(pattern.len()).position(|part| part == pattern.as_bytes())
            {
                let text = String::from_utf8_lossy(&new[..at]).into_owned();
                self.seen += at + pattern.len();
                return Ok(text);
            }
            if self.over() {
                let done = self.done();
                let expected = format!("the command runs and prints {:?}", pattern.trim_end());
                return Err(done.wrong(expected, done.summary(), self.lab.why_not_run(&done)));
            }
            self.glance(end)?;
        }
    }

    /// Waits for the end, with the end of the input.
    ///
    /// # Errors
    /// If it does not come.
    pub fn end(mut self) -> Result<Done, Failure> {
        self.input = None;
        let end = Instant::now() + self.lab.deadline;
        while !self.over() {
            self.glance(end)?;
        }
        Ok(self.done())
    }

    /// Waits for the end of the runner; what it has left in the background may still hold stdout.
    ///
    /// # Errors
    /// If it does not come.
    pub fn exit(mut self) -> Result<Done, Failure> {
        let end = Instant::now() + self.lab.deadline;
        while self.status.is_none() {
            self.glance(end)?;
        }
        Ok(self.done())
    }

    fn over(&self) -> bool {
        self.status.is_some() && self.open == 0
    }

    fn done(&self) -> Done {
        let status = self.status;
        Done {
            did: self.did.clone(),
            stdout: String::from_utf8_lossy(&self.stdout).into_owned(),
            bytes: self.stdout.clone(),
            stderr: String::from_utf8_lossy(&self.stderr).into_owned(),
            status: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
        }
    }

    /// Takes in what has come in the meantime.
    pub fn catch_up(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.take(event);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Out(bytes) => self.stdout.extend(bytes),
            Event::Err(bytes) => self.stderr.extend(bytes),
            Event::Closed => self.open -= 1,
            Event::Ended(status) => self.status = Some(status),
        }
    }

    /// A failure of a run that is still going on.
    pub fn wrong(&self, expected: &str, got: &str, cause: &str) -> Failure {
        self.done().wrong(expected, got, cause)
    }

    /// Takes in what comes next, or sees that the program has gone wild.
    fn glance(&mut self, end: Instant) -> Result<(), Failure> {
        match self.events.recv_timeout(GLANCE) {
            Ok(event) => self.take(event),
            Err(RecvTimeoutError::Disconnected) => self.open = 0,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if self.glanced.elapsed() < GLANCE {
            return Ok(());
        }
        self.glanced = Instant::now();
        let processes = self.lab.host.processes();
        let count = processes.len();
        if count > MANY {
            let got = format!("{count} processes, and ever more (they have been stopped)");
            return Err(self.wild("it ends", &got, FORKS));
        }
        if self.stdout.len() + self.stderr.len() > FLOOD {
            return Err(self.wild(
                "it ends",
                "it prints without end (it has been stopped)",
                FLOODS,
            ));
        }
        if Instant::now() > end {
            let got = format!(
                "it still runs after {} seconds (it has been stopped)",
                self.lab.deadline.as_secs()
            );
            let cause = self.why_it_hangs();
            return Err(self.wild("it ends", &got, &cause));
        }
        Ok(())
    }

    fn wild(&self, expected: &str, got: &str, cause: &str) -> Failure {
        self.lab.soil();
        let done = self.done();
        let mut failure = Failure {
            did: done.did,
            expected: expected.into(),
            got: got.into(),
            cause: cause.into(),
        };
        let words = excerpt(&done.stderr);
        if !words.is_empty() {
            failure.got += &format!("\nIt says: {words}");
        }
        failure
    }

    fn why_it_hangs(&self) -> String {
        if self.status.is_some() {
            return "your program has ended, but something that it started has not: it does not wait for the command, \
                    or it leaves processes behind that hold its output open"
                .into();
        }
        let Some(command) = self.inside() else {
            if self.stdout.is_empty() {
                return "your program has not got as far as to start the command (or the command ended without a word): it waits, \
                        or loops, before"
                    .into();
            }
            return "the command has ended and your program still waits: wait(2) for the process that you started, not \
                    for a signal or a process that never comes"
                .into();
        };
        match self.lab.process(command) {
            Some(process) if process.zombie => {
                "the command has ended and nobody has waited for it (it is a zombie): the process that started it has \
                 to call waitpid(2)"
                    .into()
            }
            _ => "the command itself still runs: it waits for an end of its input that does not come, or was stopped"
                .into(),
        }
    }
}

const FORKS: &str = "your program starts itself again and again: what runs as the `child` has to start the command, not \
                     another child. (The two halves are told apart by the subcommand: `run` starts `/proc/self/exe child \
                     …`, and `child` starts the command.)";
const FLOODS: &str = "a loop that has no end";

/// A run that has ended.
#[derive(Clone, Debug)]
pub struct Done {
    did: String,
    /// What it wrote to stdout.
    pub stdout: String,
    /// The same, byte by byte.
    pub bytes: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: String,
    /// Its exit status, unless a signal ended it.
    pub status: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Done {
    /// A failure of this run.
    pub fn wrong(
        &self,
        expected: impl Into<String>,
        got: impl Into<String>,
        cause: impl Into<String>,
    ) -> Failure {
        let cause = self.misfortune().unwrap_or_else(|| cause.into());
        let mut got = got.into();
        let words = excerpt(&self.stderr);
        if !words.is_empty() && !got.contains(&words) {
            got += &format!("\nIt says: {words}");
        }
        Failure { did: self.did.clone(), expected: expected.into(), got, cause }
    }

    /// How it ended, in words.
    pub fn ending(&self) -> String {
        match (self.status, self.signal) {
            (Some(status), _) => format!("exit status {status}"),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None) => "still running".into(),
        }
    }

    /// What came of it, in words.
    pub fn summary(&self) -> String {
        match self.stdout.trim_end() {
            "" => format!("no output, {}", self.ending()),
            text => format!("{}, {}", quoted(text), self.ending()),
        }
    }

    /// What went wrong before the observation that was to be made.
    fn misfortune(&self) -> Option<String> {
        if let Some((_, panic)) = self.stderr.split_once("panicked at ") {
            let place = panic.lines().next().unwrap_or_default().trim_end_matches(':');
            let message = panic.lines().nth(1).unwrap_or_default();
            return Some(format!(
                "your program panicked at {place}: {message}. unwrap() and expect() make a panic of an error: hand it to \
                 main with `?`, and let main print it"
            ));
        }
        let line = self.stderr.lines().find_map(|line| line.strip_prefix("error: "));
        if let (Some(2), Some(line)) = (self.status, line) {
            let cure = if line.contains("unrecognized subcommand") {
                "every call begins with the subcommand `run`; from step 03 on there is a `child` as well"
            } else if line.contains("unexpected argument") {
                "an option is missing, or everything behind the command has to be left to it: `trailing_var_arg = true`"
            } else if line.contains("invalid UTF-8") {
                "arguments are bytes, not text: let clap collect them as OsString"
            } else {
                "compare the #[arg(…)] attributes with those of the step"
            };
            return Some(format!(
                "your program does not understand its own command line ({line}): {cure}"
            ));
        }
        None
    }
}

/// A container that is being held: its command has said that it is ready, and waits for a line.
pub struct Held<'a> {
    /// What the script printed before.
    pub before: String,
    /// The runner's number on the host.
    pub runner: u32,
    /// The command's number on the host.
    pub command: u32,
    /// The run.
    pub running: Running<'a>,
}

impl Held<'_> {
    /// Lets it go on to its end.
    ///
    /// # Errors
    /// If that does not come.
    pub fn release(mut self) -> Result<Done, Failure> {
        self.running.say("go on");
        self.running.end()
    }

    /// A failure of what was seen while it was held.
    pub fn wrong(&self, expected: &str, got: &str, cause: &str) -> Failure {
        self.running.wrong(expected, got, cause)
    }

    /// Whether the command is in another namespace than the host; if not, why not.
    ///
    /// # Errors
    /// The cause, as a sentence.
    pub fn apart(&self, kind: &str, flag: &str) -> Result<(), String> {
        let lab = self.running.lab;
        let [host, runner, command] =
            [1, self.runner, self.command].map(|pid| lab.namespace(pid, kind));
        if command != host {
            return Ok(());
        }
        if runner != host {
            return Err(format!(
                "your program itself is in a new {kind} namespace, but the command is not: unshare({flag}) came after the \
                 command was started. A process gets its namespaces from its parent at the moment when it is made: \
                 unshare first, then spawn"
            ));
        }
        Err(format!(
            "the command is still in the {kind} namespace of the host: nobody has called unshare(2) with {flag} (or clone(2) \
             with it) before it was started"
        ))
    }
}

/// What a program says on stderr, without the line that every run prints.
pub fn excerpt(stderr: &str) -> String {
    let lines =
        stderr.lines().filter(|line| !line.starts_with("Running ") && !line.trim().is_empty());
    let lines: Vec<&str> = lines.take(4).map(|line| line.get(..200).unwrap_or(line)).collect();
    lines.join("\n         ")
}

/// A text in quotation marks, cut if it is long.
pub fn quoted(text: &str) -> String {
    const LONG: usize = 300;
    let mut short: String = text.chars().take(LONG).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("\"{}\"", short.replace('\n', "\\n").replace('\t', " "))
}

fn relay(
    from: Option<impl Read + Send + 'static>,
    kind: fn(Vec<u8>) -> Event,
    to: &SyncSender<Event>,
) {
    let to = to.clone();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        if let Some(mut from) = from {
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                if to.send(kind(buffer[..length].to_vec())).is_err() {
                    return;
                }
            }
        }
        _ = to.send(Event::Closed);
    });
}

fn reap(mut child: Child, to: SyncSender<Event>) {
    thread::spawn(move || {
        if let Ok(status) = child.wait() {
            _ = to.send(Event::Ended(status));
        }
    });
}

/// A command on the host that a check needs itself.
pub fn argv<S: AsRef<OsStr>>(words: &[S]) -> Vec<OsString> {
    words.iter().map(|word| word.as_ref().to_os_string()).collect()
}

/// Starts a process of the host that has nothing to do with the container, and ends with its stdin.
pub fn background(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|err| panic!("cannot start a process on the host: {err}"))
}
