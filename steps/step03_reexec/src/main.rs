//! Step 03: run ourselves again, as `child`. Some set-up happens only inside.
//! Run it: cargo run -p step03_reexec -- run sh

use anyhow::{Context, Result};
use clap::Parser;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd;
use std::io::{ErrorKind, Write, stderr};
use std::os::unix::process::ExitStatusExt; // signal()
use std::process::{Child, Command, ExitCode, id};

const NAME: &str = env!("CARGO_PKG_NAME");

#[derive(Parser)]
#[command(version, about = "Runs a command in a container.")]
enum Cli {
    /// Run COMMAND and exit with its status
    Run(Args),
    #[command(hide = true)]
    Child {
        #[command(flatten)]
        args: Args,
    },
}

#[derive(clap::Args)]
struct Args {
    /// The command and its arguments (options behind COMMAND are its own)
    #[arg(required = true, trailing_var_arg = true, value_names = ["COMMAND", "ARGS"])]
    command: Vec<std::ffi::OsString>, // need not be UTF-8
}

fn main() -> ExitCode {
    let result = match Cli::parse() {
        Cli::Run(args) => run(args),
        Cli::Child { args } => child(args),
    };
    result.unwrap_or_else(|err| {
        let cure = match err.downcast_ref::<Errno>() {
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
    unshare(CloneFlags::from_iter([
        CloneFlags::CLONE_NEWUTS, // hostname, for us and our children
    ]))
    .context("cannot create namespaces")?;
    let mut child = Command::new("/proc/self/exe"); // us again: PID namespaces begin with a child
    child.arg("child");
    child.args(std::env::args_os().skip(2)); // what came behind "run"
    wait_for(child.spawn().context("cannot run /proc/self/exe")?)
}

/// The other half of run(): it begins in the new namespaces, and sets them up.
fn child(args: Args) -> Result<ExitCode> {
    _ = writeln!(stderr(), "Running {:?} as {}", args.command, id());
    unistd::sethostname("container").context("cannot set the hostname")?;
    match Command::new(&args.command[0]).args(&args.command[1..]).spawn() {
        Ok(process) => wait_for(process),
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

/// Returns the exit status of a process when it ends: 128 + n, as in sh, if signal n ended it.
fn wait_for(mut process: Child) -> Result<ExitCode> {
    let status = process.wait().context("cannot wait")?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(code.unwrap_or(125) as u8)) // there is always one of the two
}
