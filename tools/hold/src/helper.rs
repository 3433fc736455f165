//! What runs on the classroom host as a program of its own: it starts and kills runners faster than
//! a test that has to enter the host each time.
//!
//! `helper SIGNALS TIMES MICROSECONDS AT_ONCE COMMAND...` starts COMMAND this many times, AT_ONCE at a
//! time, sends it one of SIGNALS (`SIGKILL,SIGTERM`, in turn; `none` sends nothing) after a delay
//! of 0 to MICROSECONDS, and waits for it. It prints each outcome (`exit 143`, `signal 9`) and how
//! often it came. The delays are spread evenly, in a mixed order that is the same every time.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Runs as the helper, if that is the name by which this program was called.
pub fn called() -> bool {
    let args: Vec<String> = std::env::args().collect();
    if args.len() < 6 || !args[0].ends_with("/helper") {
        return false;
    }
    let signals: Vec<Signal> = args[1].split(',').filter_map(|name| name.parse().ok()).collect();
    let number = |at: usize| args[at].parse::<u64>().unwrap_or(0);
    let (times, longest, at_once) = (number(2), number(3), number(4));
    let next = AtomicU64::new(0);
    let outcomes = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let time = next.fetch_add(1, Ordering::Relaxed);
            if time >= times {
                return;
            }
            // The golden ratio: each delay falls into the widest gap that there is between the others.
            let part = (time as f64 * 0.618_033_988_749_895).fract();
            let delay = Duration::from_micros((longest as f64 * part) as u64);
            let signal = signals.get(time as usize % signals.len().max(1)).copied();
            let outcome = once(&args[5..], signal, delay);
            if let Ok(mut outcomes) = outcomes.lock() {
                *outcomes.entry(outcome).or_insert(0) += 1;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(work);
        }
    });
    for (outcome, count) in outcomes.into_inner().unwrap_or_default() {
        println!("{outcome}: {count}");
    }
    true
}

fn once(argv: &[String], signal: Option<Signal>, delay: Duration) -> String {
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let ended = command.spawn().and_then(|mut child| {
        if let Some(signal) = signal {
            std::thread::sleep(delay);
            _ = kill(Pid::from_raw(child.id() as i32), signal);
        }
        child.wait()
    });
    match ended.map(|status| (status.code(), status.signal())) {
        Ok((Some(code), _)) => format!("exit {code}"),
        Ok((None, signal)) => format!("signal {}", signal.unwrap_or(0)),
        Err(err) => err.to_string(),
    }
}
