//! Step 10: limits. Namespaces limit what a container sees, cgroups what it uses.
//! Run it: cargo run -p step10_cgroups -- run sh

use anyhow::{Context, Result};
use clap::Parser;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd;
use rustix::process::{WaitOptions, wait};
use signal_hook::consts::{FORBIDDEN, SIGBUS, SIGPIPE, SIGSYS, SIGTRAP, SIGTSTP, SIGTTIN, SIGTTOU};
use signal_hook::iterator::{SignalsInfo, exfiltrator::WithOrigin};
use std::io::{ErrorKind, Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, id};
use std::{env, fs};

const NAME: &str = env!("CARGO_PKG_NAME");
const NONE: Option<&str> = None; // for what mount(2) is not told

#[derive(Parser)]
#[command(version, about = "Runs a command in a container.")]
enum Cli {
    /// Run COMMAND and exit with its status
    Run(Args),
    #[command(hide = true)]
    Child {
        runner: String,
        cgroup: String,
        #[command(flatten)]
        args: Args,
    },
}

#[derive(clap::Args)]
struct Args {
    /// At most this many processes
    #[arg(long, value_name = "N", default_value = "20")]
    pids_limit: std::num::NonZero<u64>,
    /// At most this much memory, such as 50m (b, k, m, g: powers of 1024)
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    memory: Option<u64>,
    /// At most the time of this many CPUs, such as 0.5
    #[arg(long, value_name = "N", value_parser = microseconds_of_100_ms)]
    cpus: Option<u64>,
    /// The directory that becomes the root directory
    #[arg(long, env, value_name = "DIR", default_value = "rootfs")]
    rootfs: PathBuf,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_names = ["COMMAND", "ARGS"])]
    command: Vec<std::ffi::OsString>,
}

fn main() -> ExitCode {
    let code = match Cli::parse() {
        Cli::Run(args) => run(args),
        Cli::Child { runner, cgroup, args } => child(&runner, &cgroup, args),
    };
    code.unwrap_or_else(|err| {
        let cure = match err.downcast_ref() {
            Some(Errno::ENOENT) => " (run ./rootfs-fetch.sh first)",
            Some(Errno::EPERM | Errno::EACCES) => " (use sudo, or see cargo workshop doctor)",
            Some(Errno::EINVAL | Errno::ENOSPC) => " (see cargo workshop doctor)",
            _ => "",
        };
        _ = writeln!(stderr(), "{NAME}: {err:#}{cure}");
        ExitCode::from(125)
    })
}

fn run(args: Args) -> Result<ExitCode> {
    _ = writeln!(stderr(), "Running {:?} as {}", args.command, id());
    let signals = handle_signals()?;
    let (uid, gid) = (unistd::geteuid(), unistd::getegid());
    // Root of a user namespace may not search a home that is closed to others. We still may.
    unistd::chdir(&args.rootfs)
        .with_context(|| format!("cannot enter the root filesystem {:?}", args.rootfs))?;
    unshare(CloneFlags::from_iter([
        CloneFlags::CLONE_NEWUSER,
        CloneFlags::CLONE_NEWUTS, // hostname
        CloneFlags::CLONE_NEWPID, // process IDs, from the next process on
        CloneFlags::CLONE_NEWIPC, // System V IPC and POSIX message queues
        CloneFlags::CLONE_NEWNET, // network interfaces, addresses, routes, ports
    ]))
    .context("cannot create namespaces")?;
    // Unprivileged, one may map oneself; the group only after giving up setgroups(2).
    fs::write("/proc/self/setgroups", "deny").context("cannot write setgroups")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1")).context("cannot write uid_map")?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1")).context("cannot write gid_map")?;
    let mut child = Command::new("/proc/self/exe");
    child.arg("child");
    child.arg(fs::read_link("/proc/self").context("cannot read /proc/self")?);
    let cgroup = format!("step10-{}-{}", id(), std::time::UNIX_EPOCH.elapsed()?.as_nanos());
    child.arg(&cgroup).args(std::env::args_os().skip(2));
    // The caller's environment may hold passwords: only the terminal's type goes in.
    child.env_clear().env("HOME", "/root").envs(env::vars_os().filter(|(name, _)| name == "TERM"));
    child.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let code = wait_for(child.spawn().context("cannot run /proc/self/exe")?, signals);
    for tree in ["", "pids", "memory", "cpu"] {
        let dir = Path::new("/sys/fs/cgroup").join(tree).join(&cgroup);
        remove_cgroup(&dir).with_context(|| format!("cannot remove the cgroup {dir:?}"))?;
    }
    code
}

/// The half of run() that is inside: it has the new namespaces, and sets them up.
fn child(runner: &str, cgroup: &str, args: Args) -> Result<ExitCode> {
    _ = writeln!(stderr(), "Running {:?} as {}", args.command, id());
    let signals = handle_signals()?;
    // When the runner dies, PID 1 dies, and with it every process of its namespace.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("cannot set a death signal")?;
    // Unless it is dead already. getppid(2) is 0 here, but this /proc is still the host's.
    let status = fs::read_to_string("/proc/self/status").context("cannot read /proc")?;
    anyhow::ensure!(status.contains(&format!("PPid:\t{runner}\n")), "the runner has died");
    join_cgroup(cgroup, &args)?;
    unshare(CloneFlags::CLONE_NEWCGROUP).context("cannot create a cgroup namespace")?;
    unistd::sethostname("container").context("cannot set the hostname")?;
    unshare(CloneFlags::CLONE_NEWNS).context("cannot create a mount namespace")?;
    // Belt and braces: in a new user namespace the copies of shared mounts pass nothing on.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .context("cannot make the mounts private")?;
    // pivot_root(2) wants a mount: the directory, mounted over "/". The way onto it is "..".
    mount(Some("."), "/", NONE, MsFlags::MS_REC | MsFlags::MS_BIND, NONE)
        .and_then(|()| unistd::chdir("/.."))
        .context("cannot enter the root filesystem")?;
    // mount(2) would follow a symbolic link, and cover something else.
    anyhow::ensure!(!Path::new("proc").is_symlink(), "cannot mount /proc: it is a symbolic link");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "proc", Some("proc"), flags, NONE).context("cannot mount /proc")?;
    anyhow::ensure!(!Path::new("dev").is_symlink(), "cannot mount /dev: it is a symbolic link");
    mount(NONE, "dev", Some("tmpfs"), flags, Some("mode=755")).context("cannot mount /dev")?;
    for device in ["full", "null", "random", "tty", "urandom", "zero"] {
        lend_device(device).with_context(|| format!("cannot mount /dev/{device}"))?;
    }
    // The old root lies on top of the new one now (pivot_root(2), notes): off with it.
    unistd::pivot_root(".", ".").context("cannot change the root")?;
    umount2(".", MntFlags::MNT_DETACH).context("cannot unmount the old root")?;
    SigSet::empty().thread_set_mask().context("cannot unblock signals")?;
    match Command::new(&args.command[0]).args(&args.command[1..]).spawn() {
        Ok(process) => wait_for(process, signals),
        Err(err) => {
            _ = writeln!(stderr(), "{NAME}: cannot run {:?}: {err}", args.command[0]);
            Ok(ExitCode::from(match err.kind() {
                ErrorKind::NotFound => 127,
                ErrorKind::WouldBlock | ErrorKind::OutOfMemory => 125, // fork(2), not execve(2)
                _ => 126,
            }))
        }
    }
}

/// Makes the cgroup (on v1 one in the tree of each controller), sets its limits, and joins it.
fn join_cgroup(name: &str, args: &Args) -> Result<()> {
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    for (tree, v1_file, v2_file, limit) in [
        ("pids", "pids.max", "pids.max", Some(args.pids_limit.get())),
        ("memory", "memory.limit_in_bytes", "memory.max", args.memory),
        ("cpu", "cpu.cfs_quota_us", "cpu.max", args.cpus),
    ] {
        let Some(limit) = limit else { continue };
        let (tree, file, join) =
            if v2 { ("", v2_file, "cgroup.procs") } else { (tree, v1_file, "tasks") };
        let dir = Path::new("/sys/fs/cgroup").join(tree).join(name);
        if !dir.exists() {
            unistd::mkdir(&dir, Mode::from_bits_truncate(0o755)).context("cannot make a cgroup")?;
        }
        let (file, join) = (dir.join(file), dir.join(join));
        anyhow::ensure!(file.exists(), "there is no {file:?}: is the controller enabled?");
        fs::write(&file, limit.to_string()).with_context(|| format!("cannot write {file:?}"))?;
        fs::write(&join, "0").with_context(|| format!("cannot write {join:?}"))?; // 0: ourselves
    }
    Ok(())
}

fn remove_cgroup(dir: &Path) -> Result<()> {
    let entries = if fs::exists(dir)? { fs::read_dir(dir)? } else { return Ok(()) };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        remove_cgroup(&entry.path())?; // the container has made it
    }
    for tries in 0.. {
        let Err(err) = fs::remove_dir(dir) else { break };
        anyhow::ensure!(tries < 1000, err);
        std::thread::sleep(std::time::Duration::from_millis(1)); // EBUSY, soon after its end
    }
    Ok(())
}

fn lend_device(name: &str) -> Result<()> {
    let (host, inside) = (format!("/dev/{name}"), format!("dev/{name}"));
    fs::write(&inside, "")?; // something to mount it on
    mount(Some(host.as_str()), inside.as_str(), NONE, MsFlags::MS_BIND, NONE)?;
    // Read-only: a chmod inside would be one outside, as it is the same file.
    let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    let flags = read_only | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    Ok(mount(NONE, inside.as_str(), NONE, flags, NONE)?)
}

/// Takes all signals but those that nobody can handle, that stop us at Ctrl-Z, or that tell of
/// mistakes of our own. They wait until they are unblocked; PID 1 would not even get them before.
fn handle_signals() -> Result<SignalsInfo<WithOrigin>> {
    let ours = [SIGBUS, SIGPIPE, SIGSYS, SIGTRAP, SIGTSTP, SIGTTIN, SIGTTOU];
    let others = (1..32).chain(34..=64).filter(|n| !ours.contains(n) && !FORBIDDEN.contains(n));
    SigSet::all().thread_block().context("cannot block signals")?;
    SignalsInfo::new(others).context("cannot handle signals")
}

/// Waits until a process ends, and returns its exit status: 128 + n if signal n has ended it.
fn wait_for(mut process: Child, mut signals: SignalsInfo<WithOrigin>) -> Result<ExitCode> {
    SigSet::empty().thread_set_mask().context("cannot unblock signals")?;
    let pid = unistd::Pid::from_raw(process.id() as i32);
    let code = 'ended: loop {
        // Whoever has ended: also orphans, as PID 1 is their new parent. This buries them.
        while let Some((ended, status)) = wait(WaitOptions::NOHANG).context("cannot wait")? {
            if ended.as_raw_pid() == pid.as_raw() {
                break 'ended status.exit_status().or(status.terminating_signal().map(|n| 128 + n));
            }
        }
        for received in signals.wait() {
            match Signal::try_from(received.signal) {
                Ok(Signal::SIGCHLD) => {}
                // Sent by a process. (Ctrl-C is not: the terminal has sent it to our process, too.)
                Ok(signal) if received.process.is_some() => _ = kill(pid, signal),
                Ok(_) => {}
                // Real-time signals cannot be sent without `unsafe`. It ends as if by one.
                Err(_) => {
                    process.kill().context("cannot kill")?;
                    break 'ended Some(128 + received.signal);
                }
            }
        }
    };
    Ok(ExitCode::from(code.unwrap_or(125) as u8))
}

fn bytes(text: &str) -> Result<u64> {
    let text = text.to_lowercase();
    let units = [("b", 1), ("k", 1 << 10), ("m", 1 << 20), ("g", 1 << 30)];
    let unit = units.into_iter().find(|(unit, _)| text.ends_with(unit));
    let (unit, size) = unit.unwrap_or(("", 1));
    let number = text[..text.len() - unit.len()].parse::<u64>();
    let bytes = number.context("expected a whole number, such as 50m")?.checked_mul(size);
    bytes.filter(|bytes| *bytes > 0).context("out of range")
}

fn microseconds_of_100_ms(text: &str) -> Result<u64> {
    let plain = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let cpus = text.parse::<f64>().ok().filter(|n| plain && (0.01..10_000.0).contains(n));
    Ok((cpus.context("expected a number from 0.01 on, such as 0.5")? * 100_000.0) as u64)
}
