//! What only somebody inside can tell: /proc shows the hostname and the message queues of whoever reads it, and of
//! nobody else. So somebody goes in, for the twinkling of an eye.
//!
//! - Who may join the namespaces sends a thread: setns(2) moves only the thread that calls it.
//! - A process of one's own in a user namespace can only be joined by way of that, and for this setns(2) wants a
//!   process of one thread. So `look` runs itself again, as the workshop's steps do.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::machine::{Id, Kind, Place, Process};
use crate::proc;

/// The hidden subcommand with which `look` runs itself: `look peek PID`.
pub const PEEK: &str = "peek";

/// What was found inside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Inside {
    pub hostname: String,
    pub queues: usize,
}

/// Asks inside, and remembers for a while what takes a process to find out.
#[derive(Default)]
pub struct Peeks(BTreeMap<(Id, Id), (Duration, Option<Inside>)>);

/// How long the answer of a process counts.
const FRESH: Duration = Duration::from_secs(1);

impl Peeks {
    /// Asks in the UTS and IPC namespaces of a process; `own_user` says whether it is in a user namespace other than
    /// ours. None if that is not for us to see.
    pub fn ask(
        &mut self,
        pid: i32,
        process: &Process,
        own_user: bool,
        now: Duration,
    ) -> Option<Inside> {
        let id = |kind: Kind| match process.place(kind) {
            Place::In(id) => Some(id),
            _ => None,
        };
        let key = (id(Kind::Uts)?, id(Kind::Ipc)?);
        let known = self.0.get(&key);
        match known {
            Some((at, inside)) if now < *at + FRESH => return inside.clone(),
            _ => {}
        }
        if let Ok(inside) = by_thread(pid) {
            return Some(inside);
        }
        if !own_user {
            return None;
        }
        let inside = by_process(pid).ok();
        self.0.retain(|_, (at, _)| now < *at + 10 * FRESH);
        self.0.insert(key, (now, inside.clone()));
        inside
    }
}

fn by_thread(pid: i32) -> io::Result<Inside> {
    let thread = thread::Builder::new().spawn(move || join(pid, &[Kind::Uts, Kind::Ipc]))?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread has failed")))
}

fn by_process(pid: i32) -> io::Result<Inside> {
    let mut look = Command::new("/proc/self/exe");
    look.args([PEEK, &pid.to_string()]).env_clear().stdin(Stdio::null()).stderr(Stdio::null());
    let output = look.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    match (lines.next(), lines.next().and_then(|queues| queues.parse().ok())) {
        (Some(hostname), Some(queues)) => Ok(Inside { hostname: hostname.into(), queues }),
        _ => Err(io::Error::other("no answer from inside")),
    }
}

/// `look peek PID`: joins the user namespace first, in which we are allowed to join the others.
pub fn peek(pid: i32) -> io::Result<()> {
    let inside = join(pid, &[Kind::User, Kind::Uts, Kind::Ipc])?;
    println!("{}\n{}", inside.hostname, inside.queues);
    Ok(())
}

fn join(pid: i32, kinds: &[Kind]) -> io::Result<Inside> {
    let open = |kind: &Kind| File::open(format!("/proc/{pid}/ns/{}", kind.name()));
    // All of them first: whoever has joined one may find the others closed.
    let links = kinds.iter().map(open).collect::<io::Result<Vec<File>>>()?;
    for (kind, link) in kinds.iter().zip(links) {
        let kind = match kind {
            Kind::User => LinkNameSpaceType::User,
            Kind::Ipc => LinkNameSpaceType::InterProcessCommunication,
            _ => LinkNameSpaceType::HostNameAndNISDomainName,
        };
        move_into_link_name_space(link.as_fd(), Some(kind))?;
    }
    here(Path::new("/"))
}

/// What this thread sees of its own namespaces.
pub fn here(top: &Path) -> io::Result<Inside> {
    let hostname = fs::read_to_string(top.join("proc/sys/kernel/hostname"))?;
    // A kernel can be built without System V IPC.
    let queues = fs::read_to_string(top.join("proc/sysvipc/msg")).unwrap_or_default();
    Ok(Inside { hostname: hostname.trim_end().to_string(), queues: proc::queues(&queues) })
}
