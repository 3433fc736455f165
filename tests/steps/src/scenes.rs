//! What a person sees: the same few commands in every step, in the container and on the host beside it. The difference
//! between the snapshots of two steps is what the later one is about.

use std::fs;

use classroom::{Result, Session, normal, output};

use crate::*;

tests! { TESTS:
    hostname, ps, running, mount, ls, ip_link, ipcs, id, namespaces,
}

/// The transcript of a scene, as it grows.
struct Scene<'a> {
    host: &'a Lab,
    container: Session,
    text: String,
}

impl Scene<'_> {
    fn new(host: &Lab) -> Result<Scene<'_>> {
        Ok(Scene { host, container: start(host, &["sh"])?, text: String::new() })
    }

    /// Types a command in the container; what it prints on stdout is noted in its normal form.
    #[track_caller]
    fn inside(&mut self, command: &str, normal: impl FnOnce(&str) -> String) -> Result<()> {
        let printed = normal(&self.container.ask(command)?);
        self.text += &format!("container$ {command}\n{printed}");
        Ok(())
    }

    /// Types a command on the host beside it.
    #[track_caller]
    fn on_host(&mut self, command: &str, normal: impl FnOnce(&str) -> String) -> Result<()> {
        let printed = normal(&self.host.run(command)?.stdout);
        self.text += &format!("host$ {command}\n{printed}");
        Ok(())
    }

    /// Leaves the container.
    #[track_caller]
    fn exit(&mut self) -> Result<()> {
        let status = self.container.finish()?.status;
        self.text += &format!("container$ exit\nstatus {status}\n");
        Ok(())
    }

    /// Compares the transcript.
    #[track_caller]
    fn end(self, name: &str) -> Result<()> {
        self.host.snapshot(name, &self.text);
        Ok(())
    }
}

fn hostname(host: &Lab) -> Result<()> {
    let mut scene = Scene::new(host)?;
    scene.inside("hostname", str::to_string)?;
    scene.inside("hostname inside", str::to_string)?;
    scene.inside("hostname", str::to_string)?;
    scene.on_host("hostname", str::to_string)?;
    scene.on_host("hostname outside", str::to_string)?;
    scene.inside("hostname", str::to_string)?;
    scene.end("hostname")
}

fn ps(host: &Lab) -> Result<()> {
    let mut scene = Scene::new(host)?;
    let rows = |text: &str| {
        let rows = normal::processes(text);
        rows.lines().map(|row| row.replace(&hidden_arguments(row), "") + "\n").collect::<String>()
    };
    // A borrowed busybox, as Debian has it, starts its own tools without exec(2): `ps` has its shell's command line.
    let inside = |text: &str| rows(text).replace("{ps} sh\n", "ps -e -o pid,args\n");
    scene.inside("ps -e -o pid,args", inside)?;
    scene.on_host("ps -e -o pid,args", rows)?;
    scene.text = normal::Pids::default().name(&scene.text);
    scene.end("ps")
}

/// What a step tells its second half, between `child` and the command: numbers that are others each time. They are
/// the steps' own affair, not what a person looks for in `ps`.
fn hidden_arguments(row: &str) -> String {
    let from = row.find("exe child ").map(|at| at + "exe child ".len());
    let to = row.rfind(" sh").filter(|to| from < Some(*to));
    from.zip(to).map_or("\0".into(), |(from, to)| row[from..=to].to_string())
}

/// How often the program says that it runs something, and as whom.
fn running(host: &Lab) -> Result<()> {
    let ran = run(host, &["echo", "hello"])?;
    let stderr = normal::Pids::default().name(&ran.stderr);
    host.snapshot("running", &format!("host$ ./step run echo hello\n{stderr}{}", ran.stdout));
    Ok(())
}

fn mount(host: &Lab) -> Result<()> {
    let mut scene = Scene::new(host)?;
    let own_root = host.step >= 5;
    scene.inside("mount", if own_root { normal::container_mounts } else { normal::mounts })?;
    scene.on_host("mount", normal::mounts)?;
    scene.exit()?;
    scene.on_host("mount", normal::mounts)?;
    scene.end("mount")
}

/// Which lib* there are depends on the machine, and on where the rootfs is from. And a learner has put more there.
fn ls(host: &Lab) -> Result<()> {
    const USUAL: &str =
        "bin dev etc home media mnt opt proc root run sbin srv sys tmp usr var workshop";
    let mut scene = Scene::new(host)?;
    scene.inside("ls /", |text| {
        let lines = text.lines().filter(|line| USUAL.split(' ').any(|usual| *line == usual));
        lines.map(|line| format!("{line}\n")).collect()
    })?;
    scene.inside("pwd", str::to_string)?;
    scene.end("ls")
}

fn ip_link(host: &Lab) -> Result<()> {
    let mut scene = Scene::new(host)?;
    scene.inside("ip link", normal::links)?;
    scene.on_host("ip link", normal::links)?;
    scene.end("ip_link")
}

fn ipcs(host: &Lab) -> Result<()> {
    let mut scene = Scene::new(host)?;
    scene.on_host("ipcmk -Q", str::to_string)?;
    scene.on_host("ipcs -q", normal::ipcs)?;
    scene.inside("ipcs -q", normal::ipcs)?;
    scene.end("ipcs")
}

/// Without root, a learner gets nowhere from step 02 on, and root in step 09. (Step 10 wants a cgroup too, which only
/// root can make: see its own tests.)
fn id(host: &Lab) -> Result<()> {
    let ran = output(&mut host.learner(argv(&["sh", "-c", "id -u; id -g"])))?;
    let mut errors = host.errors(&ran);
    if let Some((before, path)) = errors.clone().split_once("\"/sys/fs/cgroup/") {
        let after = path.split_once('"').map_or("", |(_, after)| after);
        errors = format!("{before}\"/sys/fs/cgroup/…\"{after}"); // the layout is the machine's
    }
    let text = format!("{}{errors}status {}\n", ran.stdout, ran.status);
    host.snapshot("id", &format!("learner$ ./step run sh -c 'id -u; id -g'\n{text}"));
    Ok(())
}

/// Which namespaces are the container's own.
fn namespaces(host: &Lab) -> Result<()> {
    let mut container = start(host, &["sh"])?;
    container.ask(":")?;
    let shell = pid(host, "sh")?;
    let of = |pid: u32, name: &str| {
        fs::read_link(host.path(&format!("/proc/{pid}/ns/{name}"))).expect("a namespace")
    };
    let mut text = String::new();
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
        let whose = if of(1, name) == of(shell, name) { "the host's" } else { "its own" };
        text += &format!("{name:6} {whose}\n");
    }
    container.finish()?;
    host.snapshot("namespaces", &text);
    Ok(())
}
