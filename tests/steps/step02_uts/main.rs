//! The tests of step02_uts.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/scenes.rs"]
mod scenes;
#[path = "../common/since01.rs"]
mod since01;

use classroom::require;
use common::*;

const STEP: &str = "step02_uts";

/// Row E2: what `ls -l /proc/$$/ns` prints inside and on the host differs in one inode.
#[test]
fn only_the_uts_namespace_differs() {
    let host = require!(host());
    let list = "for ns in cgroup ipc mnt net pid user uts; do readlink /proc/$$/ns/$ns; done";
    let inside = run(&host, &["sh", "-c", list]).stdout;
    let outside = host.run(list).stdout;
    let differ = inside.lines().zip(outside.lines()).filter(|(inside, outside)| inside != outside);
    let differ: Vec<_> = differ.map(|(inside, _)| inside.split(':').next().unwrap()).collect();
    assert_eq!((inside.lines().count(), differ), (7, vec!["uts"]));
}
