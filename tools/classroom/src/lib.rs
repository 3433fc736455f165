//! The classroom host: a disposable stand-in for the machine, on which tests and tools run the steps.
//!
//! What `hostname`, `ps` and `mount` print depends on the machine, and what a step leaks stays on it. Both are no good
//! for a test. So every test makes a [`Host`]: a process tree with namespaces of its own, that looks the same
//! everywhere and dies with the test that made it.
//!
//! ```no_run
//! # fn main() -> classroom::Result<()> {
//! let host = classroom::Host::start(env!("CARGO").as_ref())?;
//! assert_eq!(host.run("hostname")?.stdout, "host\n"); // host$ hostname
//! let mut shell = host.shell()?; // a second terminal
//! shell.ask("hostname renamed")?;
//! assert_eq!(shell.ask("hostname")?, "renamed\n");
//! # Ok(())
//! # }
//! ```
//!
//! - [`host`]: the host itself, and the commands one starts on it;
//! - [`fence`]: the wall around it, so that nothing on it harms the machine;
//! - [`cgroup`]: cgroups that this host has for itself;
//! - [`session`]: running commands: to their end, line by line, or on a terminal;
//! - [`error`]: what can go wrong, and what may be missing here;
//! - [`root`]: being root, and becoming it;
//! - [`trial`]: test programs in which what cannot run counts as ignored;
//! - [`normal`]: what has to be taken out of an output before it is compared.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

pub mod cgroup;
pub mod error;
pub mod fence;
pub mod host;
pub mod normal;
pub mod root;
pub mod session;
pub mod trial;

pub use cgroup::Cgroups;
pub use error::{Error, Result};
pub use host::{Host, Setup, rootfs};
pub use session::{Output, Session, output, until};
pub use steps::repository;

use error::Attempt;

/// A command that finds signals as a shell at a terminal leaves them, also where whoever has started us ignores some:
/// nohup(1) does, and a shell for what is in its background.
pub fn undisturbed(program: impl AsRef<OsStr>) -> Command {
    const HUP_INT_QUIT: u64 = 0b111;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    if ignored.unwrap_or(0) & HUP_INT_QUIT == 0 {
        return Command::new(program);
    }
    let mut env = Command::new("env");
    env.arg("--default-signal=HUP,INT,QUIT").arg(program);
    env
}

/// Writes an executable file, and the folders that it is in.
///
/// Another process does it. What this one has open for writing is open, for a moment, in every child that another
/// thread starts, and what somebody has open for writing cannot be executed: ETXTBSY, execve(2).
pub fn executable(path: &Path, text: &str) -> Result<()> {
    let mut install = Command::new("install");
    install.args(["-D", "-m", "755", "-T", "/dev/stdin"]).arg(path).stdin(Stdio::piped());
    let mut session = Session::start(&mut install)?;
    session.send(text)?;
    let done = session.finish()?;
    if done.status == 0 {
        Ok(())
    } else {
        Err(done.stderr).attempt(&format!("write {}", path.display()))
    }
}
