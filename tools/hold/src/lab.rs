//! Where one case meets one runner.

use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use classroom::error::Attempt;
use classroom::fence::PROCESSES;
use classroom::root::{Variables, is_root, variables};
use classroom::{Cgroups, Error, Host, Output, Session, Setup, output};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use steps::{Step, Steps, repository};

use crate::{Failure, Outcome, Result, hold, not_applicable, only_root};

/// What starts containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// `step10_cgroups`, `locks`, `bwrap`, …
    pub name: String,
    kind: Kind,
    program: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Step(u8),
    /// Step 10 with the solution of the exercise **locks**.
    Locks,
    Bubblewrap,
    /// crun and runc have the same command line, and both read an OCI bundle.
    Oci,
}

/// Step 10 with all locks: `exercises/10-locks.patch`.
pub const LOCKS: &str = "locks";

/// The other runners, as Debian packages them.
pub const OTHERS: &[&str] = &["bwrap", "crun", "runc"];

impl Runner {
    /// A step of the workshop, by its number or name, [`LOCKS`], or one of [`OTHERS`]. What is ours is built first.
    ///
    /// # Errors
    /// [`Failure::Missing`] if it is not installed, or does not build.
    pub fn find(name: &str) -> Result<Runner> {
        let missing = |why| Failure::Missing(Error::Missing(why));
        if OTHERS.contains(&name) {
            let kind = if name == "bwrap" { Kind::Bubblewrap } else { Kind::Oci };
            let dirs = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
            let program = dirs.iter().map(|dir| Path::new(dir).join(name)).find(|p| p.exists());
            let program = program.ok_or_else(|| missing(format!("{name} is not installed")))?;
            return Ok(Runner { name: name.to_string(), kind, program });
        }
        if name == LOCKS {
            return Ok(Runner { program: locks()?, name: name.to_string(), kind: Kind::Locks });
        }
        let step: Step =
            name.parse().map_err(|_| missing(format!("there is no runner {name:?}")))?;
        let program = STEPS.program(step).map_err(|err| missing(format!("{err:#}")))?;
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Runner { program, name, kind: Kind::Step(step.number()) })
    }

    /// The same runner, linked statically if it is ours.
    ///
    /// # Errors
    /// [`Failure::Missing`] if it does not build.
    pub fn linked_statically(&self) -> Result<Runner> {
        let Some(step) = self.step() else { return Ok(self.clone()) };
        let solution = self.has_locks().then_some(LOCKS);
        let program = STEPS.linked_statically(Step::new(step), solution);
        let program =
            program.map_err(|err| Failure::Missing(Error::Missing(format!("{err:#}"))))?;
        Ok(Runner { program, ..self.clone() })
    }

    /// Whether only root can start it.
    pub fn needs_root(&self) -> bool {
        !matches!(self.kind, Kind::Step(..=9) | Kind::Bubblewrap)
    }

    /// The number of a step; with locks or without.
    pub fn step(&self) -> Option<u8> {
        match self.kind {
            Kind::Step(number) => Some(number),
            Kind::Locks => Some(10),
            _ => None,
        }
    }

    /// Whether it has all locks.
    pub fn has_locks(&self) -> bool {
        self.kind == Kind::Locks
    }
}

/// Those of the repository.
static STEPS: LazyLock<Steps> =
    LazyLock::new(|| Steps::find(repository()).expect("the repository has steps"));

/// The program of step 10 with all locks.
fn locks() -> classroom::Result<PathBuf> {
    STEPS.solved(Step::new(10), LOCKS).map_err(|err| Error::Missing(format!("{err:#}")))
}

/// Makes what is not to be made by root: the root file system, and all our runners. Returns the variables that root
/// needs in order to find them.
pub fn prepare() -> classroom::Result<Variables> {
    classroom::rootfs()?;
    let programs = STEPS.programs(STEPS.all()).attempt("build the steps")?;
    let mut variables = variables(&["CI", "ROOTFS", "RUST_BACKTRACE"]);
    let folder = programs.first().and_then(|program| program.parent()).unwrap_or(Path::new(""));
    let mut others = vec![("10-locks".to_string(), locks()?)];
    for step in STEPS.all() {
        let program = STEPS.linked_statically(step, None).attempt("link a step statically")?;
        others.push((format!("{step}-static"), program));
    }
    let program = STEPS.linked_statically(Step::new(10), Some(LOCKS));
    others.push(("10-locks-static".to_string(), program.attempt("link the locks statically")?));
    for (name, program) in others {
        let link = folder.join(name);
        _ = fs::remove_file(&link);
        fs::hard_link(program, link).attempt("put it beside the steps")?;
    }
    variables.push(("WORKSHOP_PROGRAMS", folder.into()));
    Ok(variables)
}

/// The options of one container.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The root file system on the host; `rootfs` if `None`.
    pub rootfs: Option<OsString>,
    /// At most this many processes; 20 is a step's default.
    pub pids: Option<u64>,
    /// At most this much memory, in bytes.
    pub memory: Option<u64>,
    /// At most the time of this many CPUs.
    pub cpus: Option<f64>,
    /// stdin is a terminal: a bundle has to say so.
    pub terminal: bool,
}

impl Options {
    /// With another root file system.
    pub fn rootfs(path: impl AsRef<OsStr>) -> Options {
        Options { rootfs: Some(path.as_ref().to_os_string()), ..Options::default() }
    }

    fn limited(&self) -> bool {
        self.pids.is_some() || self.memory.is_some() || self.cpus.is_some()
    }
}

/// A classroom host with one runner on it. (The host is dropped first: what comes after it is empty then.)
pub struct Lab {
    /// The host.
    pub host: Host,
    /// The host's own cgroups, where the runner makes some.
    pub cgroups: Option<Cgroups>,
    /// What is tried.
    pub runner: Runner,
    processes: Vec<(u32, String)>,
    mounts: RefCell<String>,
    cgroups_may_stay: Cell<bool>,
    patience: Option<Sender<Duration>>,
    named: Named,
}

impl Lab {
    /// A fresh host, with a copy of the runner in /workshop.
    ///
    /// # Errors
    /// [`Failure::Missing`] if this machine does not let this user make one.
    pub fn new(runner: &Runner) -> Result<Lab> {
        Lab::with_room_for(PROCESSES, runner)
    }

    /// The same with room for this many processes.
    pub fn with_room_for(processes: u32, runner: &Runner) -> Result<Lab> {
        if runner.needs_root() && !is_root() {
            return Err(Failure::Missing(Error::NeedsRoot(format!("{} needs root", runner.name))));
        }
        let host = Setup::new(&runner.program).name(&runner.name).processes(processes).start()?;
        let cgroups = if runner.needs_root() { Some(Cgroups::on(&host)?) } else { None };
        if runner.kind == Kind::Oci {
            // crun refuses the hybrid layout, which is an empty tree of version 2 in one of version 1.
            host.run("umount -l /sys/fs/cgroup/unified")?;
        }
        let processes = host.processes();
        let mounts = RefCell::new(host.read("/proc/1/mountinfo")?);
        let cgroups_may_stay = Cell::new(false);
        let patience = runner.step().is_none().then(|| watch(host.pid()));
        let (runner, named) = (runner.clone(), Named::default());
        let lab =
            Lab { patience, host, cgroups, runner, processes, mounts, cgroups_may_stay, named };
        // A case that one of these is not expected to hold must not be paid for by the machine.
        if lab.runner.step().is_some_and(|step| step < 7) && is_root() {
            lab.own_devices()?;
        }
        Ok(lab)
    }

    /// For cases on the command line of the steps.
    ///
    /// # Errors
    /// [`Failure::NotApplicable`] for other runners.
    pub fn only_steps(&self) -> Outcome {
        match self.runner.kind {
            Kind::Step(_) | Kind::Locks => Ok(()),
            _ => not_applicable("the steps' own command line"),
        }
    }

    /// For cases that a bundle (config.json) cannot express.
    ///
    /// # Errors
    /// [`Failure::NotApplicable`] for crun and runc.
    pub fn not_oci(&self, why: &str) -> Outcome {
        if self.runner.kind == Kind::Oci { not_applicable(why) } else { Ok(()) }
    }

    /// For cases that the locks do not leave possible, on purpose.
    ///
    /// # Errors
    /// [`Failure::NotApplicable`] for step 10 with all locks.
    pub fn not_locks(&self, why: &str) -> Outcome {
        if self.runner.has_locks() { not_applicable(why) } else { Ok(()) }
    }

    /// The runner's path on the host.
    pub fn program(&self) -> String {
        format!("/workshop/{}", self.runner.name)
    }

    /// The command line, on the host, of `command` in a container.
    pub fn argv<S: AsRef<OsStr>>(&self, command: &[S]) -> Vec<OsString> {
        self.with(&Options::default(), command).unwrap_or_default()
    }

    /// The same with options.
    ///
    /// # Errors
    /// [`Failure::NotApplicable`] if this runner has none of the kind.
    pub fn with<S: AsRef<OsStr>>(&self, options: &Options, command: &[S]) -> Result<Vec<OsString>> {
        let mut argv = vec![OsString::from(self.program())];
        let rootfs = options.rootfs.clone().unwrap_or_else(|| "rootfs".into());
        match self.runner.kind {
            Kind::Step(_) | Kind::Locks => {
                argv.push("run".into());
                if options.rootfs.is_some() {
                    argv.extend(["--rootfs".into(), rootfs]);
                }
                if self.runner.step() < Some(10) && options.limited() {
                    return not_applicable("no limits");
                }
                let limits = [
                    ("--pids-limit", options.pids.map(|n| n.to_string())),
                    ("--memory", options.memory.map(|n| n.to_string())),
                    ("--cpus", options.cpus.map(|n| n.to_string())),
                ];
                for (name, value) in limits {
                    argv.extend(value.into_iter().flat_map(|v| [name.into(), v.into()]));
                }
            }
            Kind::Bubblewrap => {
                if options.limited() {
                    return not_applicable("no limits");
                }
                argv.extend(["--bind".into(), rootfs, "/".into()]);
                let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
                let rest = format!(
                    "--proc /proc --dev /dev --unshare-all --unshare-user --uid 0 --gid 0 --hostname container \
                     --chdir / --die-with-parent --clearenv --setenv PATH {path} --"
                );
                argv.extend(rest.split(' ').map(OsString::from));
            }
            Kind::Oci => return self.bundle(&rootfs, options, command),
        }
        argv.extend(command.iter().map(|arg| arg.as_ref().to_os_string()));
        Ok(argv)
    }

    /// What `crun spec` or `runc spec` writes, with the command, the root (writable) and the limits
    /// put in, and without /sys/fs/cgroup.
    fn bundle<S: AsRef<OsStr>>(
        &self,
        rootfs: &OsStr,
        options: &Options,
        command: &[S],
    ) -> Result<Vec<OsString>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hold-{}-{count}", std::process::id());
        let bundle = format!("/workshop/bundles/{name}");
        let program = self.program();
        let spec =
            self.host.run(&format!("mkdir -p {bundle}; cd {bundle}; {program} spec; pwd"))?;
        hold(spec.stdout.ends_with(&format!("{bundle}\n")), || spec.stderr)?;
        let file = self.host.path(&bundle).join("config.json");
        let text = fs::read_to_string(&file).attempt("read what it wrote")?;
        let mut config: serde_json::Value =
            serde_json::from_str(&text).attempt("read what it wrote")?;
        let Some(rootfs) = rootfs.to_str() else {
            return not_applicable("JSON has no bytes");
        };
        let rootfs = Path::new("/workshop").join(rootfs);
        let args: Option<Vec<&str>> = command.iter().map(|arg| arg.as_ref().to_str()).collect();
        let Some(args) = args else { return not_applicable("JSON has no bytes") };
        config["process"]["terminal"] = options.terminal.into();
        config["process"]["args"] = args.into();
        config["root"] = serde_json::json!({"path": rootfs, "readonly": false});
        config["hostname"] = "container".into();
        config["linux"]["cgroupsPath"] = format!("/{name}").into();
        // The host's cgroups are not the root of their trees, which confuses the two.
        if let Some(mounts) = config["mounts"].as_array_mut() {
            mounts.retain(|mount| mount["type"] != "cgroup");
        }
        let resources = &mut config["linux"]["resources"];
        resources["pids"]["limit"] = options.pids.unwrap_or(20).into();
        if let Some(bytes) = options.memory {
            resources["memory"]["limit"] = bytes.into();
        }
        if let Some(cpus) = options.cpus {
            resources["cpu"]["period"] = 100_000.into();
            resources["cpu"]["quota"] = ((cpus * 100_000.0) as u64).into();
        }
        fs::write(&file, config.to_string()).attempt("write the bundle")?;
        self.named.0.borrow_mut().push(name.clone());
        let root = format!("/workshop/state-{}", self.runner.name);
        let argv = [&program, "--root", &root, "run", "--bundle", &bundle, &name];
        Ok(argv.map(OsString::from).to_vec())
    }

    /// `sh -c script` in a container, to its end.
    #[track_caller]
    pub fn run(&self, script: &str) -> Result<Output> {
        self.run_with(&Options::default(), script)
    }

    /// The same with options.
    #[track_caller]
    pub fn run_with(&self, options: &Options, script: &str) -> Result<Output> {
        Ok(output(&mut self.host.command(self.with(options, &["sh", "-c", script])?))?)
    }

    /// `sh -c script` on the host, in which `"$@"` is `command` in a container.
    #[track_caller]
    pub fn around<S: AsRef<OsStr>>(&self, script: &str, command: &[S]) -> Result<Output> {
        Ok(output(&mut self.host.command(around(script, self.argv(command))))?)
    }

    /// `command` in a container, on a terminal.
    #[track_caller]
    pub fn on_terminal<S: AsRef<OsStr>>(
        &self,
        mut options: Options,
        command: &[S],
    ) -> Result<Session> {
        options.terminal = true;
        Ok(Session::on_terminal(&mut self.host.terminal(self.with(&options, command)?))?)
    }

    /// Starts `sh -c script` in a container, and waits until it has printed `ready`.
    #[track_caller]
    pub fn start(&self, script: &str) -> Result<Running<'_>> {
        self.start_with(&Options::default(), script)
    }

    /// The same with options.
    #[track_caller]
    pub fn start_with(&self, options: &Options, script: &str) -> Result<Running<'_>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let argv = self.with(options, &["sh", "-c", script])?;
        let file = format!("/workshop/pid-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let script = format!("echo $$ >{file}; exec \"$@\"");
        let mut session = Session::start(&mut self.host.command(around(&script, argv)))?;
        session.wait_for("ready\n")?;
        let pid = self.host.read(&file)?.trim().parse().attempt("read the runner's number")?;
        Ok(Running { lab: self, session, pid })
    }

    /// The numbers, on the host, of the processes whose whole command line is `args`.
    pub fn pids_of(&self, args: &str) -> Vec<u32> {
        let all = self.host.processes();
        all.into_iter().filter(|(_, own)| own == args).map(|(pid, _)| pid).collect()
    }

    /// For cases in which the runner is killed: its cgroup may stay behind, empty.
    pub fn cgroups_may_stay(&self, may: bool) {
        self.cgroups_may_stay.set(may);
    }

    /// What the case itself has mounted on the host so far may stay.
    pub fn this_is_before(&self) -> Outcome {
        *self.mounts.borrow_mut() = self.host.read("/proc/1/mountinfo")?;
        Ok(())
    }

    /// Runs what prepares a trial on the host.
    pub fn set_up(&self, script: &str) -> Outcome {
        let done = self.host.run(script)?;
        hold(done.status == 0, || format!("cannot set the trial up: {}", done.stderr))
    }

    /// Gives the host device nodes of its own: those that it shares with the machine must not suffer.
    pub fn own_devices(&self) -> Outcome {
        only_root("only root can make device nodes")?;
        self.set_up(
            "set -e; mkdir /devices; cp -a /dev/null /dev/zero /dev/full /dev/random \
            /dev/urandom /dev/tty /devices; mkdir /devices/pts /devices/shm; \
            ln -s pts/ptmx /devices/ptmx; mount --bind /devices /dev",
        )?;
        self.this_is_before()
    }

    /// A root file system with all of the host in it, and so with perl for odd system calls.
    pub fn everything(&self) -> Result<Options> {
        self.host.run("mkdir -p /everything; mount --rbind / /everything")?;
        self.this_is_before()?;
        Ok(match self.runner.step() {
            Some(step) if step < 5 => Options::default(),
            _ => Options::rootfs("/everything"),
        })
    }

    /// The case takes its time, also with a runner that holds it.
    pub fn this_takes_long(&self) {
        if let Some(patience) = &self.patience {
            _ = patience.send(Duration::from_secs(240));
        }
    }

    /// Puts a copy of this program on the host, and returns its path: see [`crate::helper`].
    pub fn helper(&self) -> Result<&'static str> {
        self.this_takes_long();
        let exe = std::env::current_exe().attempt("find this program")?;
        // cp(1): what another test starts meanwhile would inherit an open file (ETXTBSY).
        let copied = output(Command::new("cp").arg(exe).arg(self.host.path("/workshop/helper")))?;
        hold(copied.status == 0, || copied.stderr)?;
        Ok("/workshop/helper")
    }

    /// Whether all is as before on the host: processes, mounts, cgroups.
    ///
    /// # Errors
    /// [`Failure::NotHeld`] with what is left behind.
    pub fn nothing_is_left(&self) -> Outcome {
        // What was killed a moment ago may still be about to end.
        let end = Instant::now() + Duration::from_secs(10);
        while let Err(left) = self.left() {
            if Instant::now() > end {
                return Err(Failure::NotHeld(left));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Takes away what a case was allowed to leave, or has left: processes, mounts and cgroups.
    pub fn clean(&self) -> Outcome {
        let new = |(pid, _): &(u32, String)| !self.processes.iter().any(|(old, _)| old == pid);
        for (pid, _) in self.host.processes().into_iter().filter(new) {
            self.host.run(&format!("kill -KILL {pid}"))?;
        }
        for line in self.host.read("/proc/1/mountinfo")?.lines() {
            if !self.mounts.borrow().contains(line) {
                self.host.run(&format!("umount {}", line.split(' ').nth(4).unwrap_or_default()))?;
            }
        }
        self.cgroups.as_ref().map_or(Ok(()), |cgroups| Ok(cgroups.clean()?))
    }

    /// Not if it has been killed: see [`watch`].
    fn is_there(&self) -> bool {
        self.host.path("/proc/1").exists()
    }

    fn left(&self) -> Result<(), String> {
        if !self.is_there() {
            return Err("no end: the host was stopped".into());
        }
        let new = |(pid, _): &(u32, String)| !self.processes.iter().any(|(old, _)| old == pid);
        if let Some((_, args)) = self.host.processes().into_iter().find(new) {
            return Err(format!("left behind: process {args:?}"));
        }
        let before = self.mounts.borrow();
        let mounts = self.host.read("/proc/1/mountinfo").unwrap_or_default();
        if let Some(mount) = mounts.lines().find(|line| !before.contains(line)) {
            return Err(format!("left behind: mount {mount}"));
        }
        if let Some(mount) = before.lines().find(|line| !mounts.contains(line)) {
            return Err(format!("gone: mount {mount}"));
        }
        let cgroups = self.cgroups.as_ref().map(Cgroups::list).unwrap_or_default();
        match cgroups.first() {
            Some(name) if !self.cgroups_may_stay.get() => {
                Err(format!("left behind: cgroup {name}"))
            }
            _ => Ok(()),
        }
    }
}

/// What crun and runc call their cgroups. The host's cgroups are only pids, memory and cpu; the two use
/// more of them, and what they leave there when they are killed has a name that nobody else uses.
/// (This is dropped after the host: by then they are empty.)
#[derive(Default)]
struct Named(RefCell<Vec<String>>);

impl Drop for Named {
    fn drop(&mut self) {
        for name in self.0.take() {
            for tree in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
                let dir = tree.path().join(&name);
                let end = Instant::now() + Duration::from_secs(10);
                while dir.exists() && fs::remove_dir(&dir).is_err() && Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }
}

/// Other runners let many a case wait for what never comes. So that the table is there the same day,
/// the host ends, and the wait with it, after less time than the tests have.
fn watch(host: u32) -> Sender<Duration> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut patience = Duration::from_secs(15);
        loop {
            match receiver.recv_timeout(patience) {
                Ok(longer) => patience = longer,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        _ = kill(Pid::from_raw(host as i32), Signal::SIGKILL);
    });
    sender
}

/// `sh -c script`, in which `"$@"` is `argv`.
pub fn around(script: &str, argv: Vec<OsString>) -> Vec<OsString> {
    ["sh", "-c", script, "sh"].into_iter().map(OsString::from).chain(argv).collect()
}

/// A container that runs.
pub struct Running<'a> {
    lab: &'a Lab,
    /// Its streams.
    pub session: Session,
    /// The runner's number on the host.
    pub pid: u32,
}

impl Running<'_> {
    /// Sends the runner a signal (`TERM`), as somebody on the host does.
    #[track_caller]
    pub fn signal(&self, signal: &str) -> Outcome {
        self.lab.host.run(&format!("kill -{signal} {}", self.pid))?;
        Ok(())
    }

    /// Waits for its end.
    #[track_caller]
    pub fn finish(mut self) -> Result<Output> {
        Ok(self.session.finish()?)
    }
}
