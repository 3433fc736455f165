//! What runs on the classroom host as a program of its own: it starts and kills runners faster than
//! a test that has to enter the host each time.
//!
//! `helper SIGNAL TIMES MICROSECONDS COMMAND...` starts COMMAND again and again, sends it SIGNAL after
//! a delay that grows evenly from 0 to MICROSECONDS, and waits for it. It prints each outcome
//! (`exit 143`, `signal 9`) with how often it came. SIGNAL `none` sends nothing.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Runs as the helper, if that is the name by which this program was called.
pub fn called() -> bool {
    let args: Vec<String> = std::env::args().collect();
    if args.len() < 5 || !args[0].ends_with("/helper") {
        return false;
    }
    let signal: Option<Signal> = args[1].parse().ok();
    let times: u64 = args[2].parse().unwrap_or(0);
    let longest: u64 = args[3].parse().unwrap_or(0);
    let mut outcomes = BTreeMap::new();
    for time in 0..times {
        let mut command = Command::new(&args[4]);
        command.args(&args[5..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let outcome = match command.spawn() {
            Ok(mut child) => {
                if let Some(signal) = signal {
                    std::thread::sleep(Duration::from_micros(longest * time / times));
                    _ = kill(Pid::from_raw(child.id() as i32), signal);
                }
                match child.wait() {
                    Ok(status) => match (status.code(), status.signal()) {
                        (Some(code), _) => format!("exit {code}"),
                        (_, signal) => format!("signal {}", signal.unwrap_or(0)),
                    },
                    Err(err) => err.to_string(),
                }
            }
            Err(err) => err.to_string(),
        };
        *outcomes.entry(outcome).or_insert(0) += 1;
    }
    for (outcome, count) in outcomes {
        println!("{outcome}: {count}");
    }
    true
}
