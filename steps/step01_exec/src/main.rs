//! Step 01: a container is a process. Start a command, wait for it, pass its exit status on.
//! Run it: cargo run -p step01_exec -- run sh

use anyhow::{Context, Result};
use clap::Parser;
use std::io::{ErrorKind, Write, stderr};
use std::os::unix::process::ExitStatusExt; // signal()
use std::process::{Child, Command, ExitCode, id};

const NAME: &str = env!("CARGO_PKG_NAME");

#[derive(Parser)]
#[command(version, about = "Runs a command in a container.")]
enum Cli {
    /// Run COMMAND and exit with its status
    Run(Args),
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
    };
    result.unwrap_or_else(|err| {
        _ = writeln!(stderr(), "{NAME}: {err:#}"); // #: with all contexts
        ExitCode::from(125) // we have failed, not the command; the numbers are env(1)'s
    })
}

fn run(args: Args) -> Result<ExitCode> {
    _ = writeln!(stderr(), "Running {:?} as {}", args.command, id()); // eprintln! may panic
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
