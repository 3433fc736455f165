//! `look` on a classroom host: pictures, crowds, what may not be seen, terminals.

mod lab;
mod others;
mod steps;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(terminal::PANIC) {
        return terminal::panic_on_the_screen();
    }
    let all = [steps::all(), others::all(), terminal::all()];
    classroom::trial::run(all.into_iter().flatten().collect())
}
