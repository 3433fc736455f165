//! What can go wrong on a classroom host, and what a machine may lack.

use std::fmt;
use std::fmt::Display;

/// Why something has not come to its end. Each says what was attempted, why it failed, and the cure, if there is one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Error {
    /// Only root can have it (or whom root has given it).
    NeedsRoot(String),
    /// This machine does not have it.
    Missing(String),
    /// It makes no sense here: a kernel that forbids it to everybody, say.
    NotApplicable(String),
    /// It was tried, and went wrong.
    Failed(String),
}

/// What comes of something on a classroom host.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::NeedsRoot(why)
            | Error::Missing(why)
            | Error::NotApplicable(why)
            | Error::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

/// Says what was attempted, where it failed.
pub trait Attempt<T> {
    /// Makes an [`Error::Failed`] of any error.
    fn attempt(self, what: &str) -> Result<T>;
}

impl<T, E: Display> Attempt<T> for std::result::Result<T, E> {
    fn attempt(self, what: &str) -> Result<T> {
        self.map_err(|err| Error::Failed(format!("cannot {what}: {err}")))
    }
}
