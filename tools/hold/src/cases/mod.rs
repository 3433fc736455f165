//! All cases, by group.

/// One case: the first step that holds it, the trial, what holds, and what is decided if it does not.
macro_rules! case {
    ($since:literal, $run:ident, $says:literal) => {
        crate::Case {
            group: GROUP,
            name: stringify!($run),
            says: $says,
            since: $since,
            decision: crate::Decision::Held,
            run: $run,
        }
    };
    ($since:literal, $run:ident, $says:literal, $open:expr) => {
        crate::Case {
            group: GROUP,
            name: stringify!($run),
            says: $says,
            since: $since,
            decision: crate::Decision::Open($open),
            run: $run,
        }
    };
}

mod files;
mod limits;
mod privilege;
mod processes;
mod signals;
mod status;
mod streams;

/// All cases, by group.
pub const CASES: &[&[crate::Case]] = &[
    status::CASES,
    streams::CASES,
    signals::CASES,
    processes::CASES,
    files::CASES,
    limits::CASES,
    privilege::CASES,
];
