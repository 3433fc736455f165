//! A run that is held at a moment which otherwise is too short to be seen: between the start of the second half and its
//! first words.
//!
//! Whoever writes to a full pipe waits. So stderr is a pipe that has just enough room for what the first half says.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{Lab, Running};
use crate::Result;

const PIPE: &str = "/tmp/full";
/// What runs inside.
const COMMAND: [&str; 3] = ["sh", "-c", "read line"];

/// Such a run.
pub struct Early<'a> {
    /// PID 1 of the container, as the host knows it.
    pub init: u32,
    /// The run.
    pub running: Running<'a>,
    pipe: File,
}

impl Lab {
    /// Starts one. None if its second half has nothing to say, or says it too late to be held by it.
    pub fn start_early(&self) -> Result<Option<Early<'_>>> {
        let usual = self.run(&COMMAND)?.stderr;
        let mut lines = usual.split_inclusive('\n');
        let (Some(first), Some(_)) = (lines.next(), lines.next()) else { return Ok(None) };
        let Some(pipe) = self.full_pipe(first.len()) else { return Ok(None) };
        let program = self.program();
        let script = format!("exec \"$@\" 2>{PIPE}");
        let argv = [&["sh", "-c", &script, "sh", &program, "run"][..], &COMMAND].concat();
        let shown = self.typed(&[&["run"][..], &COMMAND].concat());
        let mut running = self.start_as(Some(&shown), &argv)?;
        running.command = COMMAND.map(Into::into).to_vec();
        let mut init = None;
        self.wait_until(|| {
            running.catch_up();
            init = self.init_of_another().filter(|pid| self.is_waiting(*pid));
            init.is_some() || running.inside().is_some() || running.session.status().is_some()
        });
        let held = init.filter(|_| running.inside().is_none());
        let mut early = Early { init: held.unwrap_or(0), running, pipe };
        if held.is_none() {
            early.go_on();
            early.running.end()?;
            return Ok(None);
        }
        Ok(Some(early))
    }

    /// A pipe with room for this many bytes.
    fn full_pipe(&self, room: usize) -> Option<File> {
        let path = self.host.path(PIPE);
        if !path.exists() {
            mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).ok()?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let mut pipe = options.open(&path).ok()?;
        let size = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(4096)).ok()?;
        let filler = usize::try_from(size).ok()?.checked_sub(room)?;
        pipe.write_all(&vec![b'-'; filler]).ok()?;
        Some(pipe)
    }

    /// PID 1 of a PID namespace that is not the host's.
    fn init_of_another(&self) -> Option<u32> {
        let mut list = self.processes().into_iter().map(|process| process.pid);
        let host = self.namespace(1, "pid");
        list.find(|pid| {
            self.numbers(*pid).last() == Some(&1) && self.namespace(*pid, "pid") != host
        })
    }
}

impl Early<'_> {
    /// Makes room: it goes on.
    pub fn go_on(&mut self) {
        let mut all = Vec::new();
        _ = self.pipe.read_to_end(&mut all);
    }
}
