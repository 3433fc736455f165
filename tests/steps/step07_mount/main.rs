//! The tests of step07_mount.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/scenes.rs"]
mod scenes;
#[path = "../common/since01.rs"]
mod since01;
#[path = "../common/since04.rs"]
mod since04;
#[path = "../common/since05.rs"]
mod since05;
#[path = "../common/since06.rs"]
mod since06;
#[path = "../common/since07.rs"]
mod since07;

use classroom::require;
use common::*;

const STEP: &str = "step07_mount";

/// Row E7: a mount namespace alone hides nothing where mounts are shared: its mounts travel to the
/// namespace that it was copied from. Private propagation is what keeps them.
#[test]
fn a_namespace_alone_does_not_hide_mounts() {
    let host = require!(host());
    let mount = |propagation: &str, name: &str| {
        let script =
            format!("unshare --mount --propagation {propagation} mount -t tmpfs {name} /tmp");
        assert_eq!(host.run(&script).status, 0, "{script}");
    };
    mount("unchanged", "leaked");
    mount("private", "hidden");
    let mounts = host.run("mount").stdout;
    assert!(mounts.contains("leaked on /tmp") && !mounts.contains("hidden"), "{mounts}");
    host.run("umount /tmp");
}
