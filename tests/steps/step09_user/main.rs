//! The tests of step09_user.

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

use std::fs;

use classroom::{Session, normal, output, require, until};
use common::*;

const STEP: &str = "step09_user";

/// Rows A13b, C3b: `id` says 0, the host's `ps` says 1000.
#[test]
fn root_inside_is_nobody_special_outside() {
    let host = require!(host());
    let mut session = Session::start(&mut host.learner(argv(&["sh"])));
    assert_eq!(session.ask("id -u; id -g"), "0\n0\n");
    let maps = session.ask("cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups");
    assert_eq!(normal::columns(&maps), "0 1000 1\n0 1000 1\ndeny\n");
    until("sh runs", || !pids(&host, "sh").is_empty());
    let shell = pid(&host, "sh").to_string();
    let seen = output(&mut host.learner(["ps", "-o", "uid=,gid=", "-p", &shell])).stdout;
    assert_eq!(normal::columns(&seen), "1000 1000\n");
    session.finish();
}

/// What it creates belongs to the learner; what belongs to others it cannot touch.
#[test]
fn files_belong_to_the_learner() {
    let host = require!(host());
    let folder = host.path("/workshop/rootfs/open");
    fs::create_dir(&folder).unwrap();
    host.run("chmod 777 rootfs/open");
    let script = "touch /open/mine; ls -ln /open | grep mine";
    let ran = output(&mut host.learner(argv(&["sh", "-c", script])));
    assert_eq!(ran.stdout.split_whitespace().skip(2).take(2).collect::<Vec<_>>(), ["0", "0"]);
    let seen = output(&mut host.learner(["stat", "-c", "%u %g", "rootfs/open/mine"]));
    assert_eq!(seen.stdout, "1000 1000\n");
    if classroom::need::is_root() {
        fs::write(host.path("/workshop/rootfs/open/secret"), "secret\n").unwrap();
        host.run("chmod 600 rootfs/open/secret");
        let ran = output(&mut host.learner(argv(&["cat", "/open/secret"])));
        assert_eq!((ran.stdout.as_str(), ran.status), ("", 1), "{ran:?}");
    }
}

/// All that root of the container can change is the container.
#[test]
fn the_learner_gains_nothing_on_the_host() {
    let host = require!(host());
    let before = traces(&host);
    let script = "hostname mine; ip link set lo up; mount -t tmpfs none /mnt && echo mounted
        ipcmk -Q >/dev/null 2>&1; mknod /tmp/disk b 8 0 || echo no device";
    let ran = output(&mut host.learner(argv(&["sh", "-c", script])));
    assert_eq!(ran.stdout, "mounted\nno device\n", "{ran:?}");
    assert_eq!(before, traces(&host));
}

/// Row E4: the whole of it works without root: statuses, signals, Ctrl-C, clean-up.
#[test]
fn it_works_without_root() {
    let host = require!(host());
    let before = traces(&host);
    for (script, status) in [("exit 3", 3), ("kill -KILL $$", 137), ("no-such-command", 127)] {
        assert_eq!(output(&mut host.learner(argv(&["sh", "-c", script]))).status, status);
    }
    let mut session = Session::start(&mut host.learner(argv(&["cat"])));
    session.send("up\n");
    session.wait_for("up\n");
    host.run(&format!("kill {}", runner(&mut session)));
    assert_eq!(session.outcome().status, 143);
    assert_eq!(before, traces(&host));
}
