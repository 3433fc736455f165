//! All cases, by group.

/// One case: the first step that holds it, its name, what holds, and where it is said if it does not; then the trial,
/// if that is not a function of this name.
macro_rules! case {
    ($since:literal, $name:ident, $says:literal) => { case!(@ $since, $name, $says, Held, $name) };
    ($since:literal, $name:ident, $says:literal => $run:expr) => { case!(@ $since, $name, $says, Held, $run) };
    ($since:literal, $name:ident, $says:literal, $open:expr) => { case!(@ $since, $name, $says, Open($open), $name) };
    ($since:literal, $name:ident, $says:literal, $open:expr => $run:expr) => {
        case!(@ $since, $name, $says, Open($open), $run)
    };
    (@ $since:literal, $name:ident, $says:literal, $decision:ident $(($place:expr))?, $run:expr) => {
        crate::Case {
            group: GROUP,
            name: stringify!($name),
            says: $says,
            since: $since,
            decision: crate::Decision::$decision$(($place))?,
            run: $run,
        }
    };
}

mod faults;
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
    faults::CASES,
];
