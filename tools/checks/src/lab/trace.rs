//! The system calls of a run, as strace(1) sees them: who made which one, in what order, and what the kernel said.
//!
//! Only the cause of a failure is looked for here, never whether there is one.

use std::collections::BTreeMap;

/// What can make a container, or unmake it. (`?`: not every machine has it.)
pub const CALLS: &str = "execve,clone,?clone3,?fork,?vfork,unshare,setns,mount,umount2,pivot_root,chroot,\
    chdir,fchdir,sethostname,prctl,kill,?tkill,?tgkill,?open,openat,?mkdir,mkdirat,?rmdir,unlinkat,?mknod,mknodat,write,\
    ?open_tree,?move_mount,?fsmount,?mount_setattr,setsid,wait4,waitid,exit_group";

/// A system call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who called: its number on the host.
    pub pid: u32,
    /// Its name: `mount`.
    pub name: String,
    /// Its arguments, as strace prints them: `"/proc"`, `MS_BIND|MS_REC`.
    pub args: Vec<String>,
    /// The error, if it failed: `EINVAL`.
    pub error: Option<String>,
    /// Where it stands among all of them. A call that waits stands where it began.
    pub at: usize,
}

impl Call {
    /// Whether an argument has this word in it: a flag, or a text without its quotation marks.
    pub fn has(&self, word: &str) -> bool {
        self.args.iter().any(|arg| {
            arg.trim_matches('"') == word
                || arg.split(['|', '=', ',']).any(|flag| flag.trim() == word)
        })
    }

    /// An argument, without quotation marks.
    pub fn arg(&self, place: usize) -> &str {
        self.args.get(place).map_or("", |arg| arg.trim_matches('"'))
    }

    /// The file that is written to: what stands behind the number, in angle brackets.
    pub fn file(&self) -> &str {
        let first = self.args.first().map_or("", String::as_str);
        first.split_once('<').map_or("", |(_, rest)| rest.trim_end_matches('>'))
    }

    /// The arguments that execve(2) gives to a program.
    pub fn words(&self) -> Vec<String> {
        let list =
            self.args.get(1).map_or("", |arg| arg.trim_start_matches('[').trim_end_matches(']'));
        arguments(list).iter().map(|word| plain(word)).collect()
    }

    /// Whether it did what it was asked for.
    pub fn done(&self) -> bool {
        self.error.is_none()
    }

    /// As a person would write it: `chdir("/..") = EINVAL`.
    pub fn shown(&self) -> String {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let shown = format!("{}({})", self.name, args.join(", "));
        let end = self.error.as_ref().map_or(String::new(), |error| format!(" = {error}"));
        format!("{}{end}", shown.chars().take(120).collect::<String>())
    }
}

/// A run of a learner's program.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    calls: Vec<Call>,
    /// Who has started whom, and when.
    parents: BTreeMap<u32, (u32, usize)>,
    /// The program, as it was started.
    program: String,
}

impl Trace {
    /// Reads what strace has written of a run of this program.
    pub fn parse(text: &str, program: &str) -> Trace {
        let mut trace = Trace { program: program.to_string(), ..Trace::default() };
        // Calls that have not returned, and of those the ones that make a process.
        let mut open: BTreeMap<u32, usize> = BTreeMap::new();
        let mut births: Vec<usize> = Vec::new();
        for line in text.lines() {
            let Some((pid, rest)) = line.split_once(' ') else { continue };
            let Ok(pid) = pid.parse::<u32>() else { continue };
            let rest = rest.trim_start();
            if let Some(resumed) = rest.strip_prefix("<... ") {
                let Some(place) = open.remove(&pid) else { continue };
                let more = resumed.split_once("resumed>").map_or("", |(_, more)| more);
                trace.calls[place].finish(more);
                continue;
            }
            if rest.starts_with(['+', '-']) {
                continue;
            }
            let Some((name, rest)) = rest.split_once('(') else { continue };
            let at = trace.calls.len();
            if !trace.calls.is_empty() && !trace.knows(pid) {
                if let Some(birth) = births.pop() {
                    trace.parents.insert(pid, (trace.calls[birth].pid, birth));
                }
            }
            let mut call = Call { pid, name: name.into(), args: Vec::new(), error: None, at };
            let unfinished = rest.strip_suffix(" <unfinished ...>");
            match unfinished {
                Some(begun) => call.args = arguments(begun),
                None => call.finish(rest),
            }
            call.normalise();
            // What is only read makes nothing; but of /proc, whose file it is matters.
            let writes = ["O_WRONLY", "O_RDWR", "O_CREAT"];
            if call.name == "open"
                && !call.arg(0).starts_with("/proc/")
                && !writes.iter().any(|flag| call.has(flag))
            {
                continue;
            }
            if unfinished.is_some() {
                open.insert(pid, at);
            }
            if ["clone", "clone3", "fork", "vfork"].contains(&name) && call.done() {
                births.push(at);
            }
            trace.calls.push(call);
        }
        trace
    }

    fn knows(&self, pid: u32) -> bool {
        self.calls.iter().any(|call| call.pid == pid)
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The program, as it was started.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The last program that it has started, or tried to start, other than itself.
    pub fn last_exec(&self) -> Option<&Call> {
        self.own_execs().last()
    }

    /// The programs other than itself that it could not start.
    pub fn tries(&self) -> Vec<&Call> {
        self.own_execs().filter(|call| !call.done()).collect()
    }

    fn own_execs(&self) -> impl Iterator<Item = &Call> {
        self.command().into_iter().chain(self.named("execve").filter(|call| !self.is_program(call)))
    }

    /// Whether it has had more than one thread.
    pub fn has_threads(&self) -> bool {
        self.own().any(|call| call.args.iter().any(|arg| arg.contains("CLONE_THREAD")))
    }

    /// Whether it has asked for this flag at all.
    pub fn asks(&self, flag: &str) -> bool {
        self.namespace(flag).is_some()
    }

    /// All the namespaces that it has asked for.
    pub fn namespaces(&self) -> Vec<&'static str> {
        const FLAGS: [&str; 7] = [
            "CLONE_NEWUTS",
            "CLONE_NEWPID",
            "CLONE_NEWIPC",
            "CLONE_NEWNET",
            "CLONE_NEWNS",
            "CLONE_NEWUSER",
            "CLONE_NEWCGROUP",
        ];
        FLAGS.into_iter().filter(|flag| self.asks(flag)).collect()
    }

    /// Who runs `run`.
    pub fn runner(&self) -> u32 {
        self.calls.first().map_or(0, |call| call.pid)
    }

    /// When the command was started.
    pub fn command(&self) -> Option<&Call> {
        self.calls
            .iter()
            .find(|call| call.name == "execve" && call.done() && !self.is_program(call))
    }

    fn is_program(&self, call: &Call) -> bool {
        call.arg(0) == self.program || call.arg(0).starts_with("/proc/")
    }

    /// The starts of the second half.
    pub fn second_halves(&self) -> Vec<&Call> {
        let again = |call: &&Call| call.name == "execve" && call.at > 0 && self.is_program(call);
        self.calls.iter().filter(again).collect()
    }

    /// Whether one process has started the other, or one in between.
    pub fn is_ancestor(&self, old: u32, young: u32) -> bool {
        old == young
            || self.parents.get(&young).is_some_and(|(parent, _)| self.is_ancestor(old, *parent))
    }

    /// When the branch of an ancestor's children that leads to a process has begun.
    pub fn branched(&self, old: u32, young: u32) -> Option<usize> {
        let (parent, at) = self.parents.get(&young)?;
        if *parent == old { Some(*at) } else { self.branched(old, *parent) }
    }

    /// The parent of a process.
    pub fn parent(&self, pid: u32) -> Option<u32> {
        self.parents.get(&pid).map(|(parent, _)| *parent)
    }

    /// What the program itself has called, and not the command, or what that has started.
    pub fn own(&self) -> impl Iterator<Item = &Call> {
        let command = self.command().map(|call| (call.pid, call.at));
        self.calls.iter().filter(move |call| {
            command.is_none_or(|(pid, at)| call.at < at || !self.is_ancestor(pid, call.pid))
        })
    }

    /// Its calls of this name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Call> {
        self.own().filter(move |call| call.name == name)
    }

    /// The call that has made a namespace, or was to make it.
    pub fn namespace(&self, flag: &str) -> Option<&Call> {
        let makes = |call: &&Call| {
            ["unshare", "clone", "clone3"].contains(&call.name.as_str())
                && call.args.iter().any(|arg| {
                    arg.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == flag)
                })
        };
        let made: Vec<&Call> = self.own().filter(makes).collect();
        made.iter().find(|call| call.done()).or(made.first()).copied()
    }

    /// What it has written to files whose path ends like this.
    pub fn written<'a>(&'a self, end: &'a str) -> impl Iterator<Item = &'a Call> {
        self.named("write").filter(move |call| call.file().ends_with(end))
    }

    /// When the runner has found that its second half has ended.
    pub fn waited(&self) -> Option<usize> {
        let waits = |call: &&Call| call.name.starts_with("wait") && call.pid == self.runner();
        let ended = |call: &&Call| {
            call.args.iter().any(|arg| {
                arg.contains("WIFEXITED") || arg.contains("WIFSIGNALED") || arg.contains("CLD_")
            })
        };
        self.own().filter(waits).find(ended).map(|call| call.at)
    }

    /// The last of its calls that failed, apart from those that fail in every program.
    pub fn last_failure(&self) -> Option<&Call> {
        let looks = ["execve", "wait4", "waitid", "prctl"];
        // Whoever tidies up finds that what failed has left nothing to remove.
        let nothing = |call: &Call| call.name == "rmdir" && call.error.as_deref() == Some("ENOENT");
        let stops =
            |call: &&Call| !call.done() && !looks.contains(&call.name.as_str()) && !nothing(call);
        self.own().filter(stops).last()
    }
}

impl Call {
    /// The same call has several names: `mkdirat(AT_FDCWD, "x")` is `mkdir("x")`.
    fn normalise(&mut self) {
        let name = match self.name.as_str() {
            "openat" => "open",
            "mkdirat" => "mkdir",
            "mknodat" => "mknod",
            "unlinkat" if self.has("AT_REMOVEDIR") => "rmdir",
            _ => return,
        };
        if !self.args.is_empty() {
            self.args.remove(0);
        }
        self.name = name.into();
    }

    /// Takes in the rest of it: `"/", MNT_DETACH) = -1 EINVAL (Invalid argument)`.
    fn finish(&mut self, rest: &str) {
        let (args, result) = rest.rsplit_once(" = ").unwrap_or((rest, ""));
        let args = args.trim_end();
        self.args.extend(arguments(args.strip_suffix(')').unwrap_or(args)));
        let mut words = result.split_whitespace();
        if words.next() == Some("-1") {
            self.error = words.next().map(String::from);
        }
    }
}

/// A text as it was before strace made it printable.
fn plain(word: &str) -> String {
    let word = word.strip_prefix('"').unwrap_or(word);
    let mut bytes = Vec::new();
    let mut rest = word.strip_suffix('"').unwrap_or(word).bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let mut code = 0_u32;
        let mut digits = 0;
        while let Some(digit @ b'0'..=b'7') = rest.peek().copied().filter(|_| digits < 3) {
            code = code * 8 + u32::from(digit - b'0');
            digits += 1;
            rest.next();
        }
        bytes.push(match rest.peek() {
            _ if digits > 0 => code as u8,
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            other => other.copied().unwrap_or(b'\\'),
        });
        if digits == 0 {
            rest.next();
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Splits arguments at the commas that are not in quotation marks or brackets.
fn arguments(text: &str) -> Vec<String> {
    let mut args = vec![String::new()];
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for c in text.chars() {
        match c {
            ',' if depth == 0 && !quoted => {
                args.push(String::new());
                continue;
            }
            '"' if !escaped => quoted = !quoted,
            '[' | '{' | '(' if !quoted => depth += 1,
            ']' | '}' | ')' if !quoted => depth -= 1,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        let last = args.len() - 1;
        args[last].push(c);
    }
    let args = args.into_iter().map(|arg| arg.trim().to_string());
    args.filter(|arg| !arg.is_empty()).collect()
}
