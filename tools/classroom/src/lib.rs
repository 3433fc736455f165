//! The classroom host: a disposable stand-in for the machine, on which tests run the steps.
//!
//! What `hostname`, `ps` and `mount` print depends on the machine, and what a step leaks stays on
//! it. Both are no good for a test. So every test makes a [`Host`]: a process tree with namespaces
//! of its own, that looks the same everywhere and dies with the test that made it.
//!
//! ```no_run
//! # fn main() {
//! let host = classroom::require!(classroom::Host::start(env!("CARGO").as_ref()));
//! assert_eq!(host.run("hostname").stdout, "host\n"); // host$ hostname
//! let mut shell = host.shell(); // a second terminal
//! shell.ask("hostname renamed");
//! assert_eq!(shell.ask("hostname"), "renamed\n");
//! # }
//! ```
//!
//! - [`host`]: the host itself, and the commands one starts on it;
//! - [`cgroup`]: cgroups that this host has for itself;
//! - [`session`]: running commands: to their end, line by line, or on a terminal;
//! - [`need`]: what a test needs, and what happens where that is missing;
//! - [`normal`]: what has to be taken out of an output before it is compared.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

pub mod cgroup;
pub mod host;
pub mod need;
pub mod normal;
pub mod session;

pub use cgroup::Cgroups;
pub use host::{Host, Setup, rootfs};

pub use need::Missing;
pub use session::{Output, Session, output, until};
pub use steps::repository;

/// Writes an executable file, and the folders that it is in.
///
/// Another process does it. What this one has open for writing is open, for a moment, in every child that another thread
/// starts, and what somebody has open for writing cannot be executed: ETXTBSY, execve(2).
///
/// # Panics
/// If it cannot be written.
#[track_caller]
pub fn executable(path: &Path, text: &str) {
    let mut install = Command::new("install");
    install.args(["-D", "-m", "755", "-T", "/dev/stdin"]).arg(path).stdin(Stdio::piped());
    let mut install = install.spawn().unwrap_or_else(|err| panic!("cannot run install: {err}"));
    let stdin = install.stdin.take();
    let written = stdin.map(|mut stdin| stdin.write_all(text.as_bytes()));
    let done = install.wait().is_ok_and(|status| status.success());
    assert!(done && matches!(written, Some(Ok(()))), "cannot write {path:?}");
}

/// Compares `text` with `tests/steps/STEP/snapshots/NAME.snap`.
///
/// The folder is the same whichever crate claims the test (a step or `my-container`).
///
/// # Panics
/// If they differ; insta prints the difference.
pub fn snapshot(step: &str, name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(repository().join("tests/steps").join(step).join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
