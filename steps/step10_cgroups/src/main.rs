//! Step 10: limits. Namespaces limit what a container sees, cgroups what it uses.
//! Run it: cargo run -p step10_cgroups -- run sh

use anyhow::Context;
use clap::Parser;
use nix::mount::*;
use nix::sched::*;
use nix::sys::signal::*;
use nix::sys::wait::*;
use nix::unistd::*;
use signal_hook::iterator::Signals;
use std::env;
use std::fs;
use std::io::*;
use std::os::unix::process::ExitStatusExt;
use std::path::*;
use std::process::*;
use std::time::*;

const NAME: &str = env!("CARGO_PKG_NAME");
const NONE: Option<&str> = None;

#[derive(Parser)]
#[command(version, about = "Runs a command in a container.")]
enum Cli {
    /// Run COMMAND and exit with its status
    Run(Args),
    #[command(hide = true)]
    Child(Args),
}

#[derive(clap::Args)]
#[command(args_override_self = true)]
struct Args {
    #[arg(long, hide = true, default_value = "")]
    runner: String,
    #[arg(long, hide = true, default_value = "")]
    cgroup: String,
    /// At most this many processes
    #[arg(long, value_name = "N", default_value = "20")]
    pids_limit: std::num::NonZero<u64>,
    /// At most this much memory, such as 50m (k, m, g: powers of 1024)
    #[arg(long, value_name = "BYTES", value_parser = |text: &str| amount(text, 1.0))]
    memory: Option<u64>,
    /// At most the time of this many CPUs, such as 0.5
    #[arg(long, value_name = "N", value_parser = |text: &str| amount(text, 100_000.0))]
    cpus: Option<u64>,
    /// The directory that becomes the root directory
    #[arg(long, env, value_name = "DIR", default_value = "rootfs")]
    rootfs: PathBuf,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_names = ["COMMAND", "ARGS"])]
    command: Vec<std::ffi::OsString>,
}

fn main() -> ExitCode {
    let status = match Cli::parse() {
        Cli::Run(args) => run(args),
        Cli::Child(args) => child(args),
    };
    status.unwrap_or_else(|err| {
        _ = writeln!(stderr(), "{NAME}: {err:#}");
        ExitCode::from(125)
    })
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    _ = writeln!(stderr(), "Running {:?} as {}", args.command, id());
    let (uid, gid) = (geteuid(), getegid());
    // Root of a user namespace may not search a home that is closed to others. We still may.
    chdir(&args.rootfs)
        .map_err(|err| anyhow::anyhow!("{} (run ./rootfs-fetch.sh first)", err.desc()))
        .with_context(|| format!("cannot enter the root filesystem {:?}", args.rootfs))?;
    unshare(CloneFlags::from_iter([
        CloneFlags::CLONE_NEWUSER,
        CloneFlags::CLONE_NEWUTS, // hostname
        CloneFlags::CLONE_NEWPID, // process IDs, from the next process on
        CloneFlags::CLONE_NEWIPC, // System V IPC and POSIX message queues
        CloneFlags::CLONE_NEWNET, // network interfaces, addresses, routes, ports
    ]))
    .context("cannot create namespaces (see `cargo workshop doctor`)")?;
    // Unprivileged, one may map oneself; the group only after giving up setgroups(2).
    fs::write("/proc/self/setgroups", "deny").context("cannot write setgroups")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1")).context("cannot write uid_map")?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1")).context("cannot write gid_map")?;
    let mut child = Command::new("/proc/self/exe");
    child.arg("child");
    child.arg("--runner").arg(fs::read_link("/proc/self").context("cannot read /proc/self")?);
    child.arg("--rootfs").arg(&args.rootfs);
    // The caller's environment may hold passwords: only the terminal's type goes in.
    child.env_clear().env("HOME", "/root").envs(env::var_os("TERM").map(|term| ("TERM", term)));
    child.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let cgroup = format!("step10-{}-{}", id(), UNIX_EPOCH.elapsed()?.as_nanos());
    child.arg("--cgroup").arg(&cgroup);
    // PID 1 never gets a signal that it has no handler for. Blocked, it is kept until it has.
    let status = execute(child.args(env::args_os().skip(2)), SigSet::all());
    for tree in ["", "pids", "memory", "cpu"] {
        let dir = format!("/sys/fs/cgroup/{tree}/{cgroup}"); // EBUSY, for a moment, after the end
        let busy = || fs::remove_dir(&dir).is_err_and(|e| e.kind() == ErrorKind::ResourceBusy);
        (0..1000).take_while(|_| busy()).for_each(|_| std::thread::sleep(Duration::from_millis(1)));
    }
    status
}

/// The half of run() that is inside: it has the new namespaces, and sets them up.
fn child(args: Args) -> anyhow::Result<ExitCode> {
    _ = writeln!(stderr(), "Running {:?} as {}", args.command, id());
    // When the runner dies, PID 1 dies, and with it every process of its namespace.
    nix::sys::prctl::set_pdeathsig(SIGKILL).context("cannot set the parent-death signal")?;
    // Unless it is dead already. getppid(2) is 0 here, but this /proc is still the host's.
    let status = fs::read_to_string("/proc/self/status").context("cannot read /proc")?;
    anyhow::ensure!(status.contains(&format!("PPid:\t{}\n", args.runner)), "the runner has died");
    let (procs, paths) = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        ("cgroup.procs", ["*/pids.max", "*/memory.max", "*/cpu.max"])
    } else {
        ("tasks", ["pids/*/pids.max", "memory/*/memory.limit_in_bytes", "cpu/*/cpu.cfs_quota_us"])
    };
    for (path, limit) in paths.iter().zip([Some(args.pids_limit.get()), args.memory, args.cpus]) {
        let Some(limit) = limit else { continue };
        let max = Path::new("/sys/fs/cgroup").join(path.replace("*", &args.cgroup));
        let join = max.with_file_name(procs);
        if !join.exists() {
            fs::create_dir(max.with_file_name(""))
                .with_context(|| format!("cannot create the cgroup of {max:?} (use sudo)"))?;
        }
        for (file, value) in [(max, limit), (join, 0)] {
            anyhow::ensure!(file.exists(), "no {file:?}: is the controller enabled?");
            fs::write(&file, value.to_string())
                .with_context(|| format!("cannot write {value} to {file:?}"))?;
        }
    }
    unshare(CloneFlags::CLONE_NEWCGROUP).context("cannot create a cgroup namespace")?;
    sethostname("container").context("cannot set the hostname")?;
    unshare(CloneFlags::CLONE_NEWNS).context("cannot create a mount namespace")?;
    // A copy of a shared mount, as systemd makes them, still passes on what is mounted on it.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .context("cannot make the mounts private")?;
    // pivot_root(2) wants a mount: the directory, mounted over "/". The way onto it is "..".
    mount(Some("."), "/", NONE, MsFlags::MS_REC | MsFlags::MS_BIND, NONE)
        .and_then(|()| chdir("/.."))
        .map_err(|err| anyhow::anyhow!("{} (run ./rootfs-fetch.sh first)", err.desc()))
        .with_context(|| format!("cannot enter the root filesystem {:?}", args.rootfs))?;
    // mount(2) would follow a symbolic link, and cover something else.
    anyhow::ensure!(!Path::new("proc").is_symlink(), "cannot mount /proc: it is a symbolic link");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "proc", Some("proc"), flags, NONE).context("cannot mount /proc")?;
    anyhow::ensure!(!Path::new("dev").is_symlink(), "cannot mount /dev: it is a symbolic link");
    mount(NONE, "dev", Some("tmpfs"), flags, Some("mode=755")).context("cannot mount /dev")?;
    for device in ["full", "null", "random", "tty", "urandom", "zero"] {
        let (host, dev) = (format!("/dev/{device}"), format!("dev/{device}"));
        fs::write(&dev, "").with_context(|| format!("cannot create {dev}"))?;
        let bind = |flags| mount(Some(&*host), &*dev, NONE, MsFlags::MS_BIND | flags, NONE);
        // Read-only: a chmod inside would be one outside, as it is the same file.
        let readonly = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | (flags - MsFlags::MS_NODEV);
        let mounted = bind(MsFlags::empty()).and_then(|()| bind(readonly));
        mounted.with_context(|| format!("cannot mount {host} on {dev}"))?;
    }
    // The old root lies on top of the new one now (pivot_root(2), notes): off with it.
    pivot_root(".", ".").context("cannot change the root")?;
    umount2(".", MntFlags::MNT_DETACH).context("cannot unmount the old root")?;
    execute(Command::new(&args.command[0]).args(&args.command[1..]), SigSet::empty())
}

/// Starts the command, passes signals on to it, and returns its exit status as a shell would.
fn execute(command: &mut Command, blocked: SigSet) -> anyhow::Result<ExitCode> {
    SigSet::all().thread_block()?; // until the handlers stand: what comes in between would be lost
    let signals = [SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM].map(|signal| signal as i32);
    let mut signals = Signals::new(signals).context("cannot handle signals")?;
    blocked.thread_set_mask()?;
    let mut process = match command.spawn() {
        Ok(process) => process,
        Err(err) => {
            _ = writeln!(stderr(), "{NAME}: cannot run {:?}: {err}", command.get_program());
            return Ok(ExitCode::from(if err.kind() == ErrorKind::NotFound { 127 } else { 126 }));
        }
    };
    SigSet::empty().thread_set_mask()?;
    let pid = Pid::from_raw(process.id() as i32);
    // PID 1 is the new parent of all orphans, and has to reap them.
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let orphan = || waitid(Id::All, ended).ok()?.pid().filter(|&orphan| orphan != pid);
    while process.try_wait().context("cannot wait")?.is_none() {
        for signal in signals.wait() {
            match Signal::try_from(signal)? {
                SIGCHLD => {}
                // At a terminal we take these for Ctrl-C and Ctrl-\: the process has got them, too.
                SIGINT | SIGQUIT if stdin().is_terminal() => {}
                signal => _ = kill(pid, signal),
            }
        }
        while orphan().is_some_and(|orphan| waitpid(orphan, None).is_ok()) {}
    }
    let status = process.wait().context("cannot wait")?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(code.unwrap_or(125) as u8))
}

fn amount(text: &str, unit: f64) -> std::result::Result<u64, &'static str> {
    let number = text.trim_end_matches(char::is_alphabetic);
    let power = ["", "k", "m", "g"].iter().position(|k| *k == text[number.len()..].to_lowercase());
    let product = |k| Some((number.parse::<f64>().ok()? * unit * 1024f64.powi(k as i32)) as u64);
    power.and_then(product).filter(|n| (1..1 << 50).contains(n)).ok_or("expected, say, 1.5 or 50m")
}
