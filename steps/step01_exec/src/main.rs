//! Step 01: a container is a process. Start a command, wait for it, pass its exit status on.
//! Run it: cargo run -p step01_exec -- run sh

use anyhow::Context;
use clap::Parser;
use std::io::*;
use std::os::unix::process::ExitStatusExt;
use std::process::*;

const NAME: &str = env!("CARGO_PKG_NAME");

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
    command: Vec<std::ffi::OsString>,
}

fn main() -> ExitCode {
    let status = match Cli::parse() {
        Cli::Run(args) => run(args),
    };
    status.unwrap_or_else(|err| {
        _ = writeln!(stderr(), "{NAME}: {err:#}");
        ExitCode::from(125)
    })
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    _ = writeln!(stderr(), "Running {:?} as {}", args.command, id());
    execute(Command::new(&args.command[0]).args(&args.command[1..]))
}

/// Starts the command, waits for it, and returns its exit status as a shell would.
fn execute(command: &mut Command) -> anyhow::Result<ExitCode> {
    let mut process = match command.spawn() {
        Ok(process) => process,
        Err(err) => {
            _ = writeln!(stderr(), "{NAME}: cannot run {:?}: {err}", command.get_program());
            return Ok(ExitCode::from(if err.kind() == ErrorKind::NotFound { 127 } else { 126 }));
        }
    };
    let status = process.wait().context("cannot wait")?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(code.unwrap_or(125) as u8))
}
