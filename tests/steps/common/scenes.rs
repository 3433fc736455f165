//! What a person sees: the same few commands in every step, in the container and on the host beside
//! it. The difference between the snapshots of two steps is what the later one is about.

use classroom::{Host, Session, normal, output, require, snapshot};

use crate::STEP;
use crate::common::*;

/// The transcript of a scene, as it grows.
struct Scene<'a> {
    host: &'a Host,
    container: Session,
    text: String,
}

impl Scene<'_> {
    fn new(host: &Host) -> Scene<'_> {
        Scene { host, container: start(host, &["sh"]), text: String::new() }
    }

    /// Types a command in the container; what it prints on stdout is noted in its normal form.
    #[track_caller]
    fn inside(&mut self, command: &str, normal: impl FnOnce(&str) -> String) {
        let printed = normal(&self.container.ask(command));
        self.text += &format!("container$ {command}\n{printed}");
    }

    /// Types a command on the host beside it.
    #[track_caller]
    fn on_host(&mut self, command: &str, normal: impl FnOnce(&str) -> String) {
        let printed = normal(&self.host.run(command).stdout);
        self.text += &format!("host$ {command}\n{printed}");
    }

    /// Leaves the container.
    #[track_caller]
    fn exit(&mut self) {
        let status = self.container.finish().status;
        self.text += &format!("container$ exit\nstatus {status}\n");
    }

    /// Compares the transcript.
    #[track_caller]
    fn end(self, name: &str) {
        snapshot(STEP, name, &self.text);
    }
}

fn as_it_is(text: &str) -> String {
    text.to_string()
}

/// Rows A2, A2b, A3, B1, C2b, D3, D3b, D4, E3.
#[test]
fn hostname() {
    let host = require!(host());
    let mut scene = Scene::new(&host);
    scene.inside("hostname", as_it_is);
    scene.inside("hostname inside", as_it_is);
    scene.inside("hostname", as_it_is);
    scene.on_host("hostname", as_it_is);
    scene.on_host("hostname outside", as_it_is);
    scene.inside("hostname", as_it_is);
    scene.end("hostname");
}

/// Rows A5, A7, A10, A11, C3, D2, D9, D10, E5b, E6.
#[test]
fn ps() {
    let host = require!(host());
    let mut scene = Scene::new(&host);
    let rows = |text: &str| {
        let rows = normal::processes(text);
        rows.lines().map(|row| row.replace(&hidden_arguments(row), "") + "\n").collect::<String>()
    };
    scene.inside("ps -e -o pid,args", rows);
    scene.on_host("ps -e -o pid,args", rows);
    scene.text = normal::Pids::default().name(&scene.text);
    scene.end("ps");
}

/// The arguments that a step adds to its own command line to pass on a number that is another one
/// each time. They are the steps' own affair, not what a person looks for in `ps`.
fn hidden_arguments(row: &str) -> String {
    let from = row.find("--runner");
    let to = row.rfind(" sh").filter(|to| from < Some(*to));
    from.zip(to).map_or("\0".into(), |(from, to)| row[from..=to].to_string())
}

/// Rows A6, B1: how often the program says that it runs something, and as whom.
#[test]
fn running() {
    let host = require!(host());
    let ran = run(&host, &["echo", "hello"]);
    let stderr = normal::Pids::default().name(&ran.stderr);
    snapshot(STEP, "running", &format!("host$ ./step run echo hello\n{stderr}{}", ran.stdout));
}

/// Rows A10, A12, A13, B2, D10, D10b, D10c, D11, E6b, E6c.
#[test]
fn mount() {
    let host = require!(host());
    let mut scene = Scene::new(&host);
    let own_root = number() >= 5;
    scene.inside("mount", if own_root { normal::container_mounts } else { normal::mounts });
    scene.on_host("mount", normal::mounts);
    scene.exit();
    scene.on_host("mount", normal::mounts);
    scene.end("mount");
}

/// Rows A9, D7. Which lib* there are depends on the machine, and on where the rootfs is from.
#[test]
fn ls() {
    let host = require!(host());
    let mut scene = Scene::new(&host);
    scene.inside("ls /", |text| {
        let lines = text.lines().filter(|line| !line.starts_with("lib"));
        lines.map(|line| format!("{line}\n")).collect()
    });
    scene.inside("pwd", as_it_is);
    scene.end("ls");
}

/// Rows A13b, C3b: a network of its own.
#[test]
fn ip_link() {
    let host = require!(host());
    let mut scene = Scene::new(&host);
    scene.inside("ip link", normal::links);
    scene.on_host("ip link", normal::links);
    scene.end("ip_link");
}

/// Rows A13b, C3b: message queues of its own.
#[test]
fn ipcs() {
    let host = require!(host());
    let mut scene = Scene::new(&host);
    scene.on_host("ipcmk -Q", as_it_is);
    scene.on_host("ipcs -q", normal::ipcs);
    scene.inside("ipcs -q", normal::ipcs);
    scene.end("ipcs");
}

/// Rows A13b, C3b, E4: without root, a learner gets nowhere from step 02 on, and root in step 09.
/// (Step 10 wants a cgroup too, which only root can make: see its own tests.)
#[test]
fn id() {
    let host = require!(host());
    let ran = output(&mut host.learner(argv(&["sh", "-c", "id -u; id -g"])));
    let mut errors = errors(&ran);
    if let Some((before, path)) = errors.clone().split_once("\"/sys/fs/cgroup/") {
        let after = path.split_once('"').map_or("", |(_, after)| after);
        errors = format!("{before}\"/sys/fs/cgroup/…\"{after}"); // the layout is the machine's
    }
    let text = format!("{}{errors}status {}\n", ran.stdout, ran.status);
    snapshot(STEP, "id", &format!("learner$ ./step run sh -c 'id -u; id -g'\n{text}"));
}

/// Rows D-tab, E-tab, E2: which namespaces are the container's own.
#[test]
fn namespaces() {
    let host = require!(host());
    let mut container = start(&host, &["sh"]);
    container.ask(":");
    let shell = pid(&host, "sh");
    let of = |pid: u32, name: &str| {
        std::fs::read_link(host.path(&format!("/proc/{pid}/ns/{name}"))).expect("a namespace")
    };
    let mut text = String::new();
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
        let whose = if of(1, name) == of(shell, name) { "the host's" } else { "its own" };
        text += &format!("{name:6} {whose}\n");
    }
    container.finish();
    snapshot(STEP, "namespaces", &text);
}
