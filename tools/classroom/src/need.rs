//! What a test needs of the machine, and what happens where that is missing.

use std::fmt;

/// Why a test cannot run here.
#[derive(Debug)]
pub struct Missing {
    /// What is missing, and the cure, for the person in front of the screen.
    pub why: String,
    /// Whether only root can ever have it, so that an ordinary user cannot be blamed.
    pub by_nature: bool,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// The tests that need root by nature: the only ones that an ordinary user's pass may skip with
/// `CI=true`. (A cgroup can be made by root, or by whom root has delegated one to.)
pub const ROOT_BY_NATURE: &[&str] = &["step10_cgroups::"];

/// Gives the value of `$result`; where it is a [`Missing`], says so and ends the test.
///
/// With `CI=true` the test fails instead, unless it is listed in [`ROOT_BY_NATURE`].
#[macro_export]
macro_rules! require {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(missing) => {
                fn here() {}
                $crate::need::skip(&missing, std::any::type_name_of_val(&here));
                return;
            }
        }
    };
}

/// Says that a test is skipped, past libtest's capture of the output; used by [`require!`].
///
/// # Panics
/// With `CI=true`, unless the test needs root by nature.
pub fn skip(missing: &Missing, test: &str) {
    let test = test.trim_end_matches("::here");
    let allowed = missing.by_nature && ROOT_BY_NATURE.iter().any(|name| test.starts_with(name));
    if std::env::var_os("CI").is_some_and(|ci| ci == "true") && !allowed {
        panic!("{test} cannot run here, and with CI=true it has to: {missing}");
    }
    use std::io::Write;
    _ = writeln!(std::io::stderr(), "SKIPPED {test}: {missing}");
}

/// Whether this process is root on this machine.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Needs root: to make a cgroup, say.
///
/// # Errors
/// If the test is run as an ordinary user.
pub fn root() -> Result<(), Missing> {
    if is_root() {
        return Ok(());
    }
    Err(Missing { why: "it needs root (run the tests with sudo)".into(), by_nature: true })
}
