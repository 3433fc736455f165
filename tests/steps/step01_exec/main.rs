//! The tests of step01_exec.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/scenes.rs"]
mod scenes;
#[path = "../common/since01.rs"]
mod since01;

use classroom::require;
use common::*;

const STEP: &str = "step01_exec";

/// Row E1: the same as without the runner.
#[test]
fn ls_is_ls() {
    let host = require!(host());
    assert_eq!(run(&host, &["ls", "-l"]).stdout, host.run("ls -l").stdout);
}

/// Row C1: fork and exec, against exec alone, after which the shell is gone.
#[test]
fn exec_replaces_the_shell() {
    let host = require!(host());
    assert_eq!(run(&host, &["sh", "-c", "ls; echo still here"]).stdout, "step\nstill here\n");
    assert_eq!(run(&host, &["sh", "-c", "exec ls; echo still here"]).stdout, "step\n");
}

/// Row B3, in full.
#[test]
fn all_exit_statuses() {
    let host = require!(host());
    let script =
        "for i in $(seq 0 255); do ./step run sh -c \"exit $i\" 2>&-; [ $? = $i ] || echo $i; done";
    assert_eq!(host.run(script).stdout, "");
}

/// Row D2: runner, then the shell as its child; both gone after `exit`.
#[test]
fn the_command_is_the_runners_child() {
    let host = require!(host());
    let mut session = start(&host, &["sh"]);
    let parent = session.ask("echo $PPID");
    assert_eq!(parent, format!("{}\n", runner(&mut session)));
    session.send("exit\n");
    assert_eq!(session.outcome().status, 0);
    classroom::until("both are gone", || host.processes().len() == 1);
}
