//! Step 01: a container is a process. Start a command, wait for it, pass its exit status on.
//!
//!     cargo run -p step01_exec -- run sh

use std::ffi::OsString;
use std::io::ErrorKind;
use std::io::Write;
use std::io::stderr;
use std::os::unix::process::ExitStatusExt;
use std::process;
use std::process::Child;
use std::process::Command;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

#[derive(Parser)]
#[command(version, about = "Runs a command in a container.")]
enum Cli {
    /// Run COMMAND and exit with its status
    Run(Args),
}

#[derive(clap::Args)]
struct Args {
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_names = ["COMMAND", "ARGS"])]
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    let status = match Cli::parse() {
        Cli::Run(args) => run(args),
    };
    status.unwrap_or_else(|err| {
        complain(format!("{err:#}"));
        ExitCode::from(125)
    })
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    _ = writeln!(stderr(), "Running {:?} as {}", args.command, process::id());
    execute(&args.command)
}

/// Starts the command and waits for it. If it cannot be started: env(1)'s exit statuses.
fn execute(command: &[OsString]) -> anyhow::Result<ExitCode> {
    match Command::new(&command[0]).args(&command[1..]).spawn() {
        Ok(process) => wait(process),
        Err(err) => {
            complain(format!("cannot run {:?}: {err}", command[0]));
            Ok(ExitCode::from(match err.kind() {
                ErrorKind::NotFound => 127,
                ErrorKind::WouldBlock => 125, // fork(2) failed, not exec(2)
                _ => 126,
            }))
        }
    }
}

/// Waits for the process to end. Its status, as in a shell: 128 + n after signal n.
fn wait(mut process: Child) -> anyhow::Result<ExitCode> {
    let status = process.wait().context("cannot wait for the command")?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(code.unwrap_or(125) as u8))
}

/// Prints one line on stderr. (eprintln! panics where nobody reads it any more.)
fn complain(message: String) {
    _ = writeln!(stderr(), "{}: {message}", env!("CARGO_PKG_NAME"));
}
