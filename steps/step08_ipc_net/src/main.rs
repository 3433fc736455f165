//! Step 08: two more of the same: message queues, and the network.
//! Run it: cargo run -p step08_ipc_net -- run sh

use anyhow::{Context, Result};
use clap::Parser;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd;
use nix::unistd::getpgid;
use rustix::process::{WaitOptions, wait}; // nix's fails at real-time signals (above 31)
use signal_hook::consts::{FORBIDDEN, SIGBUS, SIGPIPE, SIGSYS, SIGTRAP, SIGTSTP, SIGTTIN, SIGTTOU};
use signal_hook::iterator::{SignalsInfo, exfiltrator::WithOrigin}; // origin: the sender
use std::fs;
use std::io::{ErrorKind, Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, id};

const NAME: &str = env!("CARGO_PKG_NAME");
const NONE: Option<&str> = None; // not given: mount(source, target, type, flags, options)

#[derive(Parser)]
#[command(version, about = "Runs a command in a container.")]
enum Cli {
    /// Run COMMAND and exit with its status
    Run(Args),
    #[command(hide = true)]
    Child {
        runner: String, // the PID of run() in /proc, which may be an outer namespace's: not id()
        #[command(flatten)]
        args: Args,
    },
}

#[derive(clap::Args)]
#[command(args_override_self = true)] // --rootfs may come twice, see run(): the last one counts
struct Args {
    /// The directory that becomes the root directory
    #[arg(long, env = "ROOTFS", value_name = "DIR", default_value = "rootfs")]
    rootfs: PathBuf,
    /// The command and its arguments (options behind COMMAND are its own)
    #[arg(required = true, trailing_var_arg = true, value_names = ["COMMAND", "ARGS"])]
    command: Vec<std::ffi::OsString>, // need not be UTF-8
}

fn main() -> ExitCode {
    let result = match Cli::parse() {
        Cli::Run(args) => run(args),
        Cli::Child { runner, args } => child(&runner, args),
    };
    result.unwrap_or_else(|err| {
        let cure = match err.downcast_ref::<Errno>() {
            Some(Errno::ENOENT) if err.to_string().contains("root") => " (run ./rootfs-fetch.sh)",
            Some(Errno::EPERM | Errno::EACCES) => " (use sudo, or see cargo workshop doctor)",
            Some(Errno::ENOSPC) => " (see cargo workshop doctor)", // too many namespaces
            _ => "",
        };
        _ = writeln!(stderr(), "{NAME}: {err:#}{cure}"); // #: with all contexts
        ExitCode::from(125) // we have failed, not the command; the numbers are env(1)'s
    })
}

fn run(args: Args) -> Result<ExitCode> {
    _ = writeln!(stderr(), "Running {:?} as {}", args.command, id()); // eprintln! may panic
    let signals = handle_signals()?;
    unshare(CloneFlags::from_iter([
        CloneFlags::CLONE_NEWUTS, // hostname, for us and our children
        CloneFlags::CLONE_NEWPID, // process IDs, from the next process on
        CloneFlags::CLONE_NEWIPC, // System V shared memory and semaphores, message queues
        CloneFlags::CLONE_NEWNET, // network interfaces (a new lo), addresses, routes, ports
    ]))
    .context("cannot create namespaces")?;
    let mut child = Command::new("/proc/self/exe"); // us again: PID namespaces begin with a child
    child.arg("child");
    child.arg(fs::read_link("/proc/self").context("cannot read /proc/self")?); // our PID there
    child.arg("--rootfs").arg(&args.rootfs); // it may be from $ROOTFS, which is cleared below
    child.args(std::env::args_os().skip(2)); // what came behind "run"
    // The caller's environment may hold passwords: of it only TERM goes in.
    child.env_clear().env("HOME", "/root");
    child.envs(std::env::vars_os().filter(|(name, _)| name == "TERM"));
    child.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    wait_for(child.spawn().context("cannot run /proc/self/exe")?, signals)
}

/// The other half of run(): it begins in the new namespaces, and sets them up.
fn child(runner: &str, args: Args) -> Result<ExitCode> {
    _ = writeln!(stderr(), "Running {:?} as {}", args.command, id());
    let signals = handle_signals()?;
    // When the runner dies, PID 1 dies, and with it every process of its namespace.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("cannot set a death signal")?;
    // The runner (PPid) may have died before that. In here getppid(2) is 0: ask the host's /proc.
    let status = fs::read_to_string("/proc/self/status").context("cannot read /proc")?;
    anyhow::ensure!(status.contains(&format!("PPid:\t{runner}\n")), "the runner has died");
    unistd::sethostname("container").context("cannot set the hostname")?;
    unshare(CloneFlags::CLONE_NEWNS).context("cannot create a mount namespace")?; // run() stays out
    // systemd's mounts are "shared": what is mounted on a copy would appear on the original, too.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .context("cannot make the mounts private")?;
    // pivot_root(2) wants a mount, so: rootfs (BIND), with what is mounted in it (REC), over "/".
    // Our "/" stays the old one, and "/.." is rootfs.
    mount(Some(&args.rootfs), "/", NONE, MsFlags::MS_REC | MsFlags::MS_BIND, NONE)
        .and_then(|()| unistd::chdir("/..")) // by its own path we would be under the mount
        .with_context(|| format!("cannot enter the root filesystem {:?}", args.rootfs))?;
    anyhow::ensure!(!Path::new("proc").is_symlink(), "/proc is a link, which may lead elsewhere");
    let harmless = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // It shows the processes in the PID namespace of whoever mounts it: ours.
    mount(Some("proc"), "proc", Some("proc"), harmless, NONE).context("cannot mount /proc")?;
    anyhow::ensure!(!Path::new("dev").is_symlink(), "/dev is a link, which may lead elsewhere");
    mount(NONE, "dev", Some("tmpfs"), harmless, Some("mode=755")).context("cannot mount /dev")?;
    for device in ["full", "null", "random", "tty", "urandom", "zero"] {
        lend_device(device).with_context(|| format!("cannot mount /dev/{device}"))?;
    }
    // Makes "." the root, the old root on top of it (pivot_root(2), NOTES): umount2() meets that.
    unistd::pivot_root(".", ".").context("cannot pivot to the new /")?;
    umount2(".", MntFlags::MNT_DETACH).context("cannot unmount the old /")?; // even if in use
    SigSet::empty().thread_set_mask().context("cannot unblock signals")?; // the command inherits it
    match Command::new(&args.command[0]).args(&args.command[1..]).spawn() {
        Ok(process) => wait_for(process, signals),
        Err(err) => {
            _ = writeln!(stderr(), "{NAME}: cannot run {:?}: {err}", args.command[0]);
            Ok(ExitCode::from(match err.kind() {
                ErrorKind::NotFound => 127,
                ErrorKind::WouldBlock | ErrorKind::OutOfMemory => 125, // no room for a process
                _ => 126, // found, but it cannot be run
            }))
        }
    }
}

fn lend_device(name: &str) -> Result<()> {
    let inside = format!("dev/{name}");
    fs::File::create_new(&inside)?; // to mount it on; never through a link
    mount(Some(format!("/dev/{name}").as_str()), inside.as_str(), NONE, MsFlags::MS_BIND, NONE)?;
    // A bind mount takes flags only when remounted. Read-only forbids a chmod, not writing to it.
    let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    let flags = read_only | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC; // not NODEV: it is a device
    mount(NONE, inside.as_str(), NONE, flags, NONE).context("cannot make it read-only")
}

/// Handles signals (PID 1 is deaf to most others), and blocks all: until wait_for() none is lost.
/// Not: what signal-hook refuses (FORBIDDEN), our crashes, SIGPIPE, Ctrl-Z. (34 on: real-time.)
fn handle_signals() -> Result<SignalsInfo<WithOrigin>> {
    let omit = [FORBIDDEN, &[SIGBUS, SIGPIPE, SIGSYS, SIGTRAP, SIGTSTP, SIGTTIN, SIGTTOU]].concat();
    let taken = (1..=31).filter(|n| !omit.contains(n));
    SigSet::all().thread_block().context("cannot block signals")?; // child() inherits this
    SignalsInfo::new(taken).context("cannot handle signals")
}

/// Passes signals on to a process, and returns its exit status: 128 + n if signal n ended it.
fn wait_for(process: Child, mut signals: SignalsInfo<WithOrigin>) -> Result<ExitCode> {
    // Now they come. (Not the real-time ones: run() keeps them blocked, PID 1 is deaf to them.)
    SigSet::from_iter(Signal::iterator()).thread_unblock().context("cannot unblock signals")?;
    let pid = unistd::Pid::from_raw(process.id() as i32);
    let mut early = true; // a Ctrl-C from before the process was there has not reached it
    let code = 'ended: loop {
        // NOHANG: only those that have ended already. PID 1 has to collect adopted orphans, too.
        while let Some((who, status)) = wait(WaitOptions::NOHANG).context("cannot wait")? {
            if who.as_raw_pid() == pid.as_raw() {
                break 'ended status.exit_status().or(status.terminating_signal().map(|n| 128 + n));
            }
        }
        for received in if early { signals.pending() } else { signals.wait() } {
            // The terminal sends Ctrl-C, Ctrl-\, its size to our group: whoever is in it knows.
            let knows = received.process.is_none() && !early && getpgid(Some(pid)) == getpgid(None);
            match Signal::try_from(received.signal)? {
                Signal::SIGCHLD => {} // somebody has ended: see above who
                Signal::SIGINT | Signal::SIGQUIT | Signal::SIGWINCH if knows => {}
                signal => _ = kill(pid, signal), // not waited for yet: it is still there
            }
        }
        early = false;
    };
    Ok(ExitCode::from(code.unwrap_or(125) as u8)) // there is always one of the two
}
