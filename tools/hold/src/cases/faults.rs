//! Every system call fails once: see [`crate::faults`].

use crate::faults::{Report, report};
use crate::lab::Lab;
use crate::{Case, Outcome, hold};

const GROUP: &str = "faults";

pub const CASES: &[Case] = &[
    case!(5, never_open, "whichever system call fails, no command runs without its isolation"
        => |lab| none(lab, |r| &r.open)),
    case!(5, never_silent, "whichever fails, the runner ends, and says why, or goes on as if nothing were"
        => |lab| none(lab, |r| &r.silent)),
    case!(5, nothing_left, "whichever fails, nothing is left behind"
        => |lab| none(lab, |r| &r.left)),
];

fn none(lab: &Lab, what: fn(&Report) -> &Vec<String>) -> Outcome {
    lab.this_takes_long();
    let report = report(&lab.runner)?;
    let (tried, failed) = (report.tried, what(&report));
    if !failed.is_empty() {
        eprintln!("{}: of {tried} failures\n{}", lab.runner.name, failed.join("\n"));
    }
    hold(failed.is_empty(), || format!("{} of {tried}: {}", failed.len(), failed.join(", ")))
}
