//! Step 08: two more globals: message queues, and the network stack.

use crate::Check;
use crate::Failure;
use crate::lab::Lab;
use crate::step06::need_proc;

pub const CHECKS: &[Check] = &[
    Check {
        name: "ipc",
        title: "sees none of the host's message queues",
        from: 8,
        until: 10,
        man: "ipc_namespaces(7), sysvipc(7)",
        hints: &[
            "`ipcs` lists the host's message queue. One more flag.",
            "CLONE_NEWIPC, beside the others in `run`.",
        ],
        lines: &["CLONE_NEWIPC"],
        observe: ipc,
    },
    Check {
        name: "net",
        title: "has no network interface but lo",
        from: 8,
        until: 10,
        man: "network_namespaces(7)",
        hints: &[
            "`ip link` lists the host's interfaces. One more flag.",
            "CLONE_NEWNET, beside the others in `run`.",
        ],
        lines: &["CLONE_NEWNET"],
        observe: net,
    },
];

fn ipc(lab: &Lab) -> Result<(), Failure> {
    need_proc(lab)?;
    let held = lab.hold(&[""; 0], "cat /proc/sysvipc/msg; ")?;
    let queues = held.before.lines().skip(1).count();
    if queues == 0 {
        held.release()?;
        return Ok(());
    }
    lab.soil();
    let cause = held
        .apart("ipc", "CLONE_NEWIPC")
        .err()
        .unwrap_or_else(|| "/proc/sysvipc is the host's".into());
    let got = format!("the host's is there: {queues} in /proc/sysvipc/msg");
    Err(held.wrong("`ipcs` lists no message queue", &got, &cause))
}

fn net(lab: &Lab) -> Result<(), Failure> {
    need_proc(lab)?;
    let held = lab.hold(&[""; 0], "cat /proc/net/dev; ")?;
    let names: Vec<&str> = held
        .before
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim())
        .collect();
    if names.contains(&"lo") && !names.contains(&"eth0") {
        held.release()?;
        return Ok(());
    }
    lab.soil();
    let cause = held
        .apart("net", "CLONE_NEWNET")
        .err()
        .unwrap_or_else(|| "something has put an interface inside".into());
    let got = format!("the interfaces {}", names.join(", "));
    Err(held.wrong("the only interface is lo", &got, &cause))
}
