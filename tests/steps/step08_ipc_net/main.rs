//! The tests of step08_ipc_net.

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

const STEP: &str = "step08_ipc_net";

/// lo is there, and down until somebody brings it up; what listens on the host is out of reach.
#[test]
fn lo_can_be_brought_up() {
    let host = require!(host());
    let script = "ip link set lo up && ip addr show lo";
    let ran = run(&host, &["sh", "-c", script]);
    assert!(ran.stdout.contains("127.0.0.1/8"), "{ran:?}");
    assert_eq!(host.run("ip link show dev eth0").status, 0);
}

/// POSIX and System V shared memory, semaphores: all of the IPC namespace.
#[test]
fn nothing_of_the_hosts_ipc_is_there() {
    let host = require!(host());
    host.run("ipcmk -M 4096; ipcmk -S 1");
    for kind in ["msg", "sem", "shm"] {
        let file = format!("/proc/sysvipc/{kind}");
        let rows = |text: &str| text.lines().count() - 1;
        assert_eq!(rows(&host.run(&format!("cat {file}")).stdout), 1, "{kind} on the host");
        assert_eq!(rows(&run(&host, &["cat", &file]).stdout), 0, "{kind} inside");
    }
}
