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

pub mod cgroup;
pub mod host;
pub mod need;
pub mod normal;
pub mod session;

pub use cgroup::Cgroups;
pub use host::{Host, Setup, repository, rootfs};
pub use need::Missing;
pub use session::{Output, Session, output, until};

/// Compares `text` with `tests/STEP/snapshots/NAME.snap`.
///
/// The folder is the same whichever crate claims the test (a step or `my-container`).
///
/// # Panics
/// If they differ; insta prints the difference.
pub fn snapshot(step: &str, name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(repository().join("tests").join(step).join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
