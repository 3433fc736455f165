//! Step 08: two more globals: message queues, and the network stack.

use crate::lab::Lab;
use crate::step06::need_proc;
use crate::{Check, Result};

pub const CHECKS: &[Check] = &[
    check! { 8, ipc, "sees none of the host's message queues",
        read: "ipc_namespaces(7), sysvipc(7)",
        hints: [
            "`ipcs` lists the host's message queue. One more flag.",
            "CLONE_NEWIPC, beside the others in `run`.",
        ],
        lines: ["CLONE_NEWIPC"],
    },
    check! { 8, net, "has no network interface but lo",
        read: "network_namespaces(7)",
        hints: [
            "`ip link` lists the host's interfaces. One more flag.",
            "CLONE_NEWNET, beside the others in `run`.",
        ],
        lines: ["CLONE_NEWNET"],
    },
];

fn ipc(lab: &Lab) -> Result<()> {
    need_proc(lab)?;
    let held = lab.hold(&[], "cat /proc/sysvipc/msg; ")?;
    let queues = held.before.lines().skip(1).count();
    if queues == 0 {
        held.release()?;
        return Ok(());
    }
    let cause = held.why_together("ipc", "CLONE_NEWIPC", "/proc/sysvipc is the host's");
    let got = format!("the host's is there: {queues} in /proc/sysvipc/msg");
    Err(held.wrong("`ipcs` lists no message queue", &got, cause))
}

fn net(lab: &Lab) -> Result<()> {
    need_proc(lab)?;
    let held = lab.hold(&[], "cat /proc/net/dev; ")?;
    let names = held.before.lines().filter_map(|line| Some(line.split_once(':')?.0.trim()));
    let names: Vec<&str> = names.collect();
    if names.contains(&"lo") && !names.contains(&"eth0") {
        held.release()?;
        return Ok(());
    }
    let cause = held.why_together("net", "CLONE_NEWNET", "something has put an interface inside");
    Err(held.wrong(
        "the only interface is lo",
        &format!("the interfaces {}", names.join(", ")),
        cause,
    ))
}
