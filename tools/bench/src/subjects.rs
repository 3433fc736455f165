//! What is started: the floor, the steps, and the runners that one could use instead.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, ensure};
use serde_json::json;

use crate::{Cli, Machine, output, realtime};

/// Replaced by a name that no other start has: OCI runtimes want one for each container.
const ID: &str = "{ID}";
/// The limits of step 10, and of those that can set limits.
const LIMITS: [&str; 6] = ["--pids-limit", "20", "--memory", "50m", "--cpus", "0.5"];

/// With real-time priority there can be no limit on CPU time: the kernel refuses both together.
fn limits() -> &'static [&'static str] {
    if realtime() { &LIMITS[..4] } else { &LIMITS }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Floor,
    Step,
    /// A step that is linked statically.
    Static,
    Mine,
    Peer,
}

#[derive(Clone)]
pub struct Subject {
    pub name: String,
    pub kind: Kind,
    /// What it does, in a few words, where the name does not say it.
    pub what: String,
    runs: Runs,
    program: PathBuf,
    args: Vec<OsString>,
    rootfs: PathBuf,
}

/// Which program ends up in the container.
#[derive(Clone, Copy, PartialEq)]
enum Runs {
    /// The one at the end of the command line, as the root filesystem has it.
    Inside,
    /// `/bin/true` of the root filesystem, by its path on the host: steps 01 to 04 see the host's files.
    OnHost,
    /// What a configuration file says, which is `/bin/true`, too.
    Configured,
}

impl Subject {
    /// Starts COMMAND, its standard streams not yet set.
    pub fn command(&self, command: &[&str]) -> Command {
        static STARTS: AtomicU64 = AtomicU64::new(0);
        let mut start = Command::new(&self.program);
        let mut command = command.to_vec();
        for arg in &self.args {
            match arg.to_str() {
                Some(ID) => {
                    let number = STARTS.fetch_add(1, Ordering::Relaxed);
                    start.arg(format!("bench-{}-{number}", std::process::id()));
                }
                // The command stands in the middle of an argument, for a shell.
                Some(arg) if arg.contains("{COMMAND}") => {
                    start.arg(arg.replace("{COMMAND}", &command.join(" ")));
                    command.clear();
                }
                _ => _ = start.arg(arg),
            }
        }
        start.args(command).env("ROOTFS", &self.rootfs);
        start
    }

    /// Starts `/bin/true` of the root filesystem, silently.
    pub fn start(&self) -> Command {
        let mut start = self.command(if self.takes_a_command() { &["/bin/true"] } else { &[] });
        start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        start
    }

    /// Whether it can be told to start something else.
    pub fn takes_a_command(&self) -> bool {
        self.runs == Runs::Inside
    }

    /// The size of the program in bytes, without its shared libraries.
    pub fn size(&self) -> Option<u64> {
        fs::metadata(&self.program).ok().map(|file| file.len())
    }
}

/// Builds what has to be built, and lists everything that can be started on this machine. Says on stderr what cannot.
pub fn all(machine: &Machine, cli: &Cli) -> anyhow::Result<Vec<Subject>> {
    let mut subjects = floor(machine);
    let release = machine.target.join(if cli.smoke { "debug" } else { "release" });
    let linked = machine.out.join("static");
    let steps = machine.steps()?;
    for (number, step) in (1..).zip(&steps) {
        subjects.push(self::step(machine, &release, step, number, Kind::Step));
    }
    for (number, step) in (1..).zip(&steps).skip(if cli.smoke { steps.len() } else { 8 }) {
        subjects.push(self::step(machine, &linked, step, number, Kind::Static));
    }
    if cli.mine {
        let mut subject = self::step(machine, &release, "my-container", 9, Kind::Mine);
        // It may be at any step: what exists inside and outside will do.
        subject.args = vec!["run".into()];
        subjects.push(subject);
    }
    subjects.extend(peers(machine)?);
    Ok(subjects)
}

fn step(machine: &Machine, dir: &Path, step: &str, number: usize, kind: Kind) -> Subject {
    let mut args: Vec<OsString> = vec!["run".into()];
    let (mut what, mut runs) = (String::new(), Runs::Inside);
    if number >= 10 {
        args.extend(limits().iter().map(OsString::from));
        what = "limits".into();
    }
    if number < 5 {
        args.extend(host_true(&machine.rootfs));
        runs = Runs::OnHost;
    }
    let name = match kind {
        Kind::Static => format!("{step}, static"),
        _ => step.to_string(),
    };
    Subject {
        name,
        kind,
        what,
        runs,
        program: dir.join(step),
        args,
        rootfs: machine.rootfs.clone(),
    }
}

/// Alpine's programs need Alpine's loader, which the host does not have at that path.
fn host_true(rootfs: &Path) -> Vec<OsString> {
    let loader = fs::read_dir(rootfs.join("lib"))
        .into_iter()
        .flatten()
        .flatten()
        .find(|file| file.file_name().to_string_lossy().starts_with("ld-musl-"));
    match loader {
        Some(loader) => {
            vec![loader.path().into(), rootfs.join("bin/busybox").into(), "true".into()]
        }
        None => vec![rootfs.join("bin/true").into()],
    }
}

/// The steps once as a learner builds them, and the last two linked statically; and the floor.
pub fn build(machine: &Machine, cli: &Cli) -> anyhow::Result<()> {
    let steps = machine.steps()?;
    let packages = |steps: &[String]| -> Vec<String> {
        steps.iter().flat_map(|step| ["--package".to_string(), step.clone()]).collect()
    };
    let mut cargo = machine.cargo();
    cargo.arg("build").args(packages(&steps));
    if cli.mine {
        cargo.args(["--package", "my-container"]);
    }
    // What a smoke run needs is built already, where `cargo test` has run.
    if !cli.smoke {
        cargo.arg("--release");
        build_static(machine, &steps[8..])?;
    }
    run(&mut cargo)?;
    // The floor is optional: not every learner has a C compiler.
    let floor = machine.here.join("floor.c");
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-static", "-o"]).arg(machine.out.join("floor")).arg(floor);
    if let Err(err) = run(&mut cc) {
        eprintln!("{err:#}: is a C compiler installed (apt install gcc libc6-dev)?");
    }
    Ok(())
}

/// Without a `--target`, cargo would build clap's proc-macro like that, too, which is impossible.
fn build_static(machine: &Machine, steps: &[String]) -> anyhow::Result<()> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let triple = version.lines().find_map(|line| line.strip_prefix("host: "));
    let triple = triple.context("rustc -vV names no host")?;
    let rustflags =
        format!("CARGO_TARGET_{}_RUSTFLAGS", triple.to_uppercase().replace(['-', '.'], "_"));
    let mut cargo = machine.cargo();
    cargo.args(["build", "--release", "--target", triple]);
    cargo.args(steps.iter().flat_map(|step| ["--package", step]));
    run(cargo.env(rustflags, "-C target-feature=+crt-static -C relocation-model=static"))?;
    let (from, to) = (machine.target.join(triple).join("release"), machine.out.join("static"));
    fs::create_dir_all(&to).with_context(|| format!("cannot make {to:?}"))?;
    for step in steps {
        let (from, to) = (from.join(step), to.join(step));
        fs::copy(&from, &to).with_context(|| format!("cannot copy {from:?} to {to:?}"))?;
    }
    Ok(())
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot run {name}"))?;
    ensure!(status.success(), "{name} failed: {status}");
    Ok(())
}

/// The floor, if it could be compiled.
fn floor(machine: &Machine) -> Vec<Subject> {
    let program = machine.out.join("floor");
    if !program.exists() {
        eprintln!("Not measured: the floor, floor.c: it has not been compiled.");
        return Vec::new();
    }
    let floor = |mode: &str, name: &str, what: &str| Subject {
        name: name.into(),
        kind: Kind::Floor,
        what: what.into(),
        runs: Runs::Inside,
        program: program.clone(),
        args: vec![mode.into(), machine.rootfs.clone().into()],
        rootfs: machine.rootfs.clone(),
    };
    vec![
        floor("fork", "fork + exec", "fork, chroot, exec, wait"),
        floor("namespaces", "all namespaces", "the same with seven namespaces, no mounts"),
        floor("container", "the floor", "and the user map and mounts of step 09"),
        floor(
            "reexec",
            "the floor, re-executed",
            "the same in the shape of step 09: three execs, not two",
        ),
    ]
}

/// `which`, without asking a shell.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(sbin).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// The shell script that does with util-linux alone what step 09 does. `unshare --root` is only a chroot.
const SCRIPT: &str = r#"set -e
mount --rbind "$ROOTFS" "$ROOTFS"
cd "$ROOTFS"
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t tmpfs -o nosuid,nodev,noexec,mode=755 tmpfs dev
for device in full null random tty urandom zero; do
    : >dev/$device
    mount --bind /dev/$device dev/$device
    mount -o remount,bind,ro,nosuid,noexec dev/$device
done
pivot_root . .
umount -l .
exec {COMMAND}"#;

fn peers(machine: &Machine) -> anyhow::Result<Vec<Subject>> {
    let mut peers = Vec::new();
    let mut add = |name: &str, what: &str, program: &str, args: Vec<OsString>| {
        let Some(program) = find(program) else {
            return eprintln!("Not measured: {name}: {program} is not installed.");
        };
        let configured = ["crun", "runc"].contains(&name);
        let runs = if configured { Runs::Configured } else { Runs::Inside };
        let (name, what, rootfs) = (name.into(), what.into(), machine.rootfs.clone());
        peers.push(Subject { name, kind: Kind::Peer, what, runs, program, args, rootfs });
    };
    let rootfs = || OsString::from(machine.rootfs.clone());
    let namespaces =
        ["--user", "--map-root-user", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--mount"];
    let namespaces = || namespaces.iter().chain(&["--fork", "--kill-child"]).map(OsString::from);
    let chroot = ["--mount-proc".into(), "--root".into(), rootfs()];
    add(
        "unshare --root",
        "chroot and /proc; no pivot_root, no /dev",
        "unshare",
        namespaces().chain(chroot).collect(),
    );
    let script = ["sh".into(), "-c".into(), SCRIPT.into()];
    add(
        "unshare + mount",
        "a shell script with the mounts of step 09",
        "unshare",
        namespaces().chain(script).collect(),
    );
    let bwrap =
        "--unshare-all --unshare-user --die-with-parent --uid 0 --gid 0 --hostname container";
    let binds = ["--bind".into(), rootfs(), "/".into()];
    let mounts = ["--proc", "/proc", "--dev", "/dev"].map(OsString::from);
    let bwrap = bwrap.split(' ').map(OsString::from).chain(binds).chain(mounts).collect();
    add("bubblewrap", "the namespaces and mounts of step 09", "bwrap", bwrap);
    let bundle = bundle(machine)?;
    for runtime in ["crun", "runc"] {
        let state = machine.out.join(format!("{runtime}-state"));
        let args = ["--root".into(), state.into(), "run".into(), "--bundle".into()];
        let args = args.into_iter().chain([bundle.clone().into(), ID.into()]).collect();
        add(runtime, "an OCI runtime, with the limits of step 10", runtime, args);
    }
    // Their services pull in storage and a network, so what is measured is more than isolation.
    for engine in ["podman", "docker"] {
        let service = Command::new(engine).arg("info").output();
        if !service.is_ok_and(|service| service.status.success()) {
            eprintln!("Not measured: {engine}: not installed, or its service does not run.");
            continue;
        }
        let image = match image(machine, engine) {
            Ok(image) => [image],
            Err(err) => {
                eprintln!("Not measured: {engine}: {err:#}");
                continue;
            }
        };
        let args = ["run", "--rm", "--network", "none"].iter().chain(limits()).chain(&image);
        let args = args.map(OsString::from).collect();
        add(engine, "an engine: an image, storage, a service", engine, args);
    }
    Ok(peers)
}

/// The root filesystem as an image. It stays, under a name that tells whose it is: importing it again is quick.
fn image(machine: &Machine, engine: &str) -> anyhow::Result<&'static str> {
    let tarball = machine.out.join("rootfs.tar");
    run(Command::new("tar").arg("-C").arg(&machine.rootfs).arg("-cf").arg(&tarball).arg("."))?;
    let image = "localhost/workshop-bench:latest";
    run(Command::new(engine).arg("import").arg(&tarball).arg(image).stdout(Stdio::null()))?;
    Ok(image)
}

/// What crun and runc read: the namespaces of step 10 and its limits, and nothing that they would add on their own.
fn bundle(machine: &Machine) -> anyhow::Result<PathBuf> {
    let bundle = machine.out.join("bundle");
    let root = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    let namespaces = ["user", "pid", "network", "ipc", "uts", "mount", "cgroup"];
    let mounts = ["proc", "tmpfs"].map(|kind| {
        let place = if kind == "proc" { "/proc" } else { "/dev" };
        json!({ "destination": place, "type": kind, "source": kind })
    });
    let mut resources = json!({
        "pids": { "limit": 20 },
        "memory": { "limit": 50 << 20 },
    });
    if !realtime() {
        resources["cpu"] = json!({ "quota": 50_000, "period": 100_000 });
    }
    let config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bin/true"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
        },
        "root": { "path": machine.rootfs },
        "hostname": "container",
        "mounts": mounts,
        "linux": {
            "namespaces": namespaces.map(|kind| json!({ "type": kind })),
            "uidMappings": root,
            "gidMappings": root,
            "resources": resources,
        },
    });
    fs::create_dir_all(&bundle)?;
    fs::write(bundle.join("config.json"), config.to_string())
        .with_context(|| format!("cannot write {bundle:?}"))?;
    Ok(bundle)
}
