//! The tests of step03_reexec.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/scenes.rs"]
mod scenes;
#[path = "../common/since01.rs"]
mod since01;

use classroom::require;
use common::*;

const STEP: &str = "step03_reexec";

/// Row A4: /proc/self is whoever reads it; that is why the runner can start itself again.
#[test]
fn proc_self_exe_is_the_reader() {
    let host = require!(host());
    let host_ls = host.run("ls -l /proc/self/exe").stdout;
    assert!(host_ls.trim_end().ends_with("/ls") || host_ls.contains("coreutils"), "{host_ls}");
    let inside = run(&host, &["ls", "-l", "/proc/self/exe"]).stdout;
    assert_eq!(host_ls.split(" -> ").nth(1), inside.split(" -> ").nth(1));
}

/// The program is found by what it is, not by its name.
#[test]
fn it_runs_itself_under_any_name() {
    let host = require!(host());
    let ran = host.run("mv step moved && PATH=/workshop:$PATH moved run hostname; mv moved step");
    assert_eq!(ran.stdout, "container\n", "{ran:?}");
    let ran = host.run("cp step gone && exec 3<gone && rm gone && /proc/self/fd/3 run hostname");
    assert_eq!(ran.stdout, "container\n", "{ran:?}");
}
