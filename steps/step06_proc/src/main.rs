//! Step 06: a /proc of its own. `ps` only reads files.
//!
//!     cargo run -p step06_proc -- run sh

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::*;
use std::os::unix::process::ExitStatusExt;
use std::path::*;
use std::process::*;

use anyhow::Context;
use anyhow::anyhow;
use anyhow::ensure;
use clap::Parser;
use nix::mount::*;
use nix::sched::*;
use nix::sys::prctl;
use nix::sys::signal::*;
use nix::sys::wait::*;
use nix::unistd::*;
use signal_hook::iterator::Signals;

const NAME: &str = env!("CARGO_PKG_NAME");

#[derive(Parser)]
#[command(version, about = "Runs a command in a container.")]
enum Cli {
    /// Run COMMAND and exit with its status
    Run(Args),
    #[command(hide = true)]
    Child(Args),
}

#[derive(clap::Args)]
struct Args {
    #[arg(long, hide = true, default_value = "")]
    runner: String,
    /// The directory that becomes the root directory
    #[arg(long, env, value_name = "DIR", default_value = "rootfs")]
    rootfs: PathBuf,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_names = ["COMMAND", "ARGS"])]
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    let status = match Cli::parse() {
        Cli::Run(args) => run(args),
        Cli::Child(args) => child(args),
    };
    status.unwrap_or_else(|err| {
        // Not eprintln!, which panics where nobody reads stderr any more.
        _ = writeln!(stderr(), "{NAME}: {err:#}");
        ExitCode::from(125)
    })
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    _ = writeln!(stderr(), "Running {:?} as {}", args.command, id());
    unshare(CloneFlags::from_iter([
        CloneFlags::CLONE_NEWUTS, // hostname
        CloneFlags::CLONE_NEWPID, // process IDs, from the next process on
    ]))
    .map_err(|err| anyhow!("{} (run it as root, with sudo)", err.desc()))
    .context("cannot create namespaces")?;
    let mut child = Command::new("/proc/self/exe");
    child.arg("child");
    child.arg("--runner").arg(fs::read_link("/proc/self").context("cannot read /proc/self")?);
    child.arg("--rootfs").arg(&args.rootfs);
    // The caller's environment may hold passwords: only the terminal's type goes in.
    child.env_clear().envs(env::var_os("TERM").map(|term| ("TERM", term)));
    child.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    child.env("HOME", "/root");
    // PID 1 never gets a signal that it has no handler for. Blocked, it is kept until it has.
    execute(child.args(&args.command), SigSet::all())
}

/// The half of run() that is inside: it has the new namespaces, and sets them up.
fn child(args: Args) -> anyhow::Result<ExitCode> {
    _ = writeln!(stderr(), "Running {:?} as {}", args.command, id());
    // When the runner dies, PID 1 dies, and with it every process of its namespace.
    prctl::set_pdeathsig(SIGKILL).context("cannot set the parent-death signal")?;
    // Unless it is dead already. getppid(2) is 0 here, but this /proc is still the host's.
    let status = fs::read_to_string("/proc/self/status").context("cannot read /proc")?;
    ensure!(status.contains(&format!("PPid:\t{}\n", args.runner)), "the runner has died");
    sethostname("container").context("cannot set the hostname")?;
    chroot(&args.rootfs)
        .map_err(|err| anyhow!("{} (run ./rootfs-fetch.sh first)", err.desc()))
        .with_context(|| format!("cannot enter the root filesystem {:?}", args.rootfs))?;
    // chroot(2) leaves the working directory where it is: outside.
    chdir("/").context("cannot enter /")?;
    mount_new("proc", "proc", None)?;
    let status = execute(Command::new(&args.command[0]).args(&args.command[1..]), SigSet::empty());
    // Detached: a process that the command has left behind may still be using it.
    umount2("proc", MntFlags::MNT_DETACH).context("cannot unmount /proc")?;
    status
}

/// Mounts a new file system; not on a symbolic link, which mount(2) would follow.
fn mount_new(fstype: &str, dir: &str, options: Option<&str>) -> anyhow::Result<()> {
    let is_dir = fs::symlink_metadata(dir).is_ok_and(|metadata| metadata.is_dir());
    ensure!(is_dir, "cannot mount {fstype} on /{dir}: no such directory in the root filesystem");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let mounted = mount(Some(fstype), dir, Some(fstype), flags, options);
    mounted.with_context(|| format!("cannot mount {fstype} on /{dir}"))
}

/// Starts the command, passes signals on to it, and returns its exit status as a shell would.
fn execute(command: &mut Command, blocked: SigSet) -> anyhow::Result<ExitCode> {
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
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let orphan = || waitid(Id::All, ended).ok()?.pid().filter(|&orphan| orphan != pid);
    let status = loop {
        // PID 1 is the new parent of all orphans, and has to reap them.
        while let Some(orphan) = orphan() {
            waitpid(orphan, None)?;
        }
        if let Some(status) = process.try_wait().context("cannot wait")? {
            break status;
        }
        for signal in signals.wait() {
            match Signal::try_from(signal)? {
                SIGCHLD => {} // try_wait() again
                // Ctrl-C and Ctrl-\: the terminal has sent these to the process, too.
                SIGINT | SIGQUIT if stdin().is_terminal() => {}
                signal => _ = kill(pid, signal),
            }
        }
    };
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(code.unwrap_or(125) as u8))
}
