//! Sessions: what the author typed is typed on a classroom host, and what comes is written down.
//!
//! ```console
//! $ cargo run -qp step05_chroot -- run sh
//! / # ls /
//! host$ ps -C sh -o args
//! / # ^D
//! ```
//!
//! A line that begins with a prompt is a command; all else is output, and is written anew.
//!
//! - `$ ` or `# ` is the first terminal: bash, as root (cargo's runner would ask sudo), or as an ordinary user in a
//!   `session … user`. The prompts of the shells that are started in it are written as they come.
//! - `host$ ` is a second terminal on the host, of the same user; `host# ` is one of root.
//! - `^C`, `^D`, `^Z`, `^\` after a prompt, or alone on a line while a command runs, is that key.
//! - `> ` continues a command.
//!
//! Behind the step's number: `user`, by an ordinary user; `wide`, 160 columns; `cgroups`, with cgroups of the host's
//! own; `v1` or
//! `v2`, the same, and only on a machine with that version (`scripts/vm/test.sh guide` has one with v2); `solution
//! NAME`, with the step's program as the exercise changes it; `svg FILE`, also as a picture, in that file of the
//! repository.
//!
//! In front of every command the tool waits until its terminal shows a prompt and no process of the host is busy. So
//! `sleep 100 &` is asleep, and has said what it says, when the next command is typed.

use std::collections::BTreeMap;
use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use classroom::normal::is_borrowed;
use classroom::root::is_root;
use classroom::{Cgroups, Host, Session, Setup};
use regex::Regex;
use steps::{Step, Steps};

use crate::Text;
use crate::normal::{Normal, plain, without_flood};
use crate::quote::fence;

/// How long a host may stay busy (a loop that never sleeps) before we go on all the same.
const BUSY: Duration = Duration::from_secs(2);

/// Two looks at the host's processes are this far apart.
const LOOK: Duration = Duration::from_millis(8);

/// A line of a session.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Line {
    /// A command or, at a prompt, a key.
    Typed { prompt: String, text: String },
    /// A key in a running command.
    Key(String),
}

impl Line {
    fn terminal(&self) -> usize {
        match self {
            Line::Typed { prompt, .. } if prompt == "host$ " => 1,
            Line::Typed { prompt, .. } if prompt == "host# " => 2,
            _ => 0,
        }
    }
}

/// The words of a session's marker, after its number.
#[derive(Default)]
struct Words {
    user: bool,
    wide: bool,
    cgroups: bool,
    layout: Option<String>,
    solution: Option<String>,
}

impl Words {
    fn parse(words: &[String]) -> anyhow::Result<Words> {
        let mut parsed = Words::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "user" => parsed.user = true,
                "wide" => parsed.wide = true,
                "cgroups" => parsed.cgroups = true,
                "v1" | "v2" => {
                    parsed.cgroups = true;
                    parsed.layout = Some(word.clone());
                }
                "solution" => {
                    let name = words.next().context("the name of the solution is missing")?;
                    parsed.solution = Some(name.clone());
                }
                "svg" => _ = words.next().context("the name of the picture is missing")?,
                _ => bail!(
                    "a session cannot be {word:?}: it can be user, wide, cgroups, v1, v2, solution NAME or svg FILE"
                ),
            }
        }
        Ok(parsed)
    }
}

/// The file for a session's picture, if it is to have one.
pub fn picture(words: &[String]) -> Option<&str> {
    words.iter().skip_while(|word| *word != "svg").nth(1).map(String::as_str)
}

/// The prompts of the shells that there are: bash, dash, busybox; and the two names of the second terminal.
pub fn prompt() -> &'static Regex {
    regex!(
        r"^(host[$#] |[$#] |[~/][\w./+-]* [$#] |\w+@[\w-]+:[~/][\w./+-]*[$#] |bash-[\d.]+[$#] |> )"
    )
}

/// Reads what the author typed.
fn parse(body: &[String]) -> anyhow::Result<Vec<Line>> {
    let usage = "a session is a ```console block, in which commands stand after their prompts";
    let [first, inner @ .., last] = body else { bail!("{usage}") };
    ensure!(first.trim_start_matches('`') == "console" && last.starts_with("```"), "{usage}");
    let (prompt, key) = (prompt(), regex!(r"^\^[A-Z\\]$"));
    let mut lines = Vec::new();
    for line in inner {
        if let Some(found) = prompt.find(line) {
            let (prompt, text) = line.split_at(found.end());
            lines.push(Line::Typed {
                prompt: prompt.to_string(),
                text: text.trim_end().to_string(),
            });
        } else if key.is_match(line) {
            lines.push(Line::Key(line.clone()));
        }
    }
    let begins = matches!(lines.first(), Some(Line::Typed { .. }));
    ensure!(begins, "{usage}. (`$ ` is the first terminal's prompt, `host$ ` the second's)");
    Ok(lines)
}

/// The bytes of what is typed.
fn bytes(text: &str) -> String {
    match text.as_bytes() {
        [b'^', key @ (b'A'..=b'Z' | b'\\')] => char::from(key & 0x1f).to_string(),
        _ => format!("{text}\n"),
    }
}

/// Whether this is a key, such as `^C`, and no line.
pub fn is_key(text: &str) -> bool {
    !bytes(text).ends_with('\n')
}

/// The first terminal, the second, and the second as root.
type Terminals = [Option<Terminal>; 3];

/// A terminal of the host.
struct Terminal {
    session: Session,
    /// How much of its text has been written down.
    seen: usize,
    patience: Duration,
    /// The prompt behind which nothing was typed yet; empty while a command runs.
    prompt: String,
}

impl Terminal {
    fn open(
        host: &Host,
        prompt: &str,
        user: bool,
        columns: u16,
        patience: Duration,
    ) -> anyhow::Result<Terminal> {
        let home = if user { "/home/learner" } else { "/root" };
        let argv: &[&str] = if user {
            &["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "bash"]
        } else {
            &["bash"]
        };
        let mut command = host.terminal(argv);
        let path = format!(
            "{home}/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        );
        command
            .env("PATH", path)
            .env("HOME", home)
            .env("USER", if user { "learner" } else { "root" });
        // No line editor: what comes back is what was typed. PS1 is not for the shells inside.
        let rc = format!("PS1='{prompt}' PS2='> '\nset +o emacs\nunset HISTFILE\n");
        fs::write(host.path(&format!("{home}/.bashrc")), rc).context("cannot write the .bashrc")?;
        let session = Session::on_terminal(&mut command)?;
        session.resize(24, columns)?;
        let mut terminal = Terminal { session, seen: 0, patience, prompt: String::new() };
        terminal.ready().context("the first prompt")?;
        terminal.news();
        Ok(terminal)
    }

    /// What has come and is not written down.
    fn text(&mut self) -> String {
        while self.session.poll(Duration::ZERO) {}
        let text = self.session.stdout();
        plain(&String::from_utf8_lossy(&text[self.seen.min(text.len())..]))
    }

    /// The prompt at the end of it, if there is one.
    fn at_prompt(&mut self) -> Option<String> {
        let text = self.text();
        let text = without_flood(&text);
        let last = text.rsplit('\n').next().unwrap_or_default();
        // ^C shows, and a shell that has not died of it goes on behind it.
        let last = last.trim_start_matches(['^', 'C', 'Z', '\\']);
        // Of two shells that end on one line, as ^D makes them, the last one counts.
        let prompt = prompt();
        let mut rest = last;
        while let Some(found) = prompt.find(rest) {
            if found.end() == rest.len() {
                return Some(rest.to_string());
            }
            rest = &rest[found.end()..];
        }
        None
    }

    /// Waits for a prompt, or for the end of the terminal's shell.
    fn ready(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + self.patience;
        loop {
            if let Some(prompt) = self.at_prompt() {
                self.prompt = prompt;
                return Ok(());
            }
            // Nothing was typed since the last prompt: what has come is from the background.
            if !self.prompt.is_empty() {
                return Ok(());
            }
            if !self.session.poll(Duration::from_millis(200)) && self.session.status().is_some() {
                return Ok(());
            }
            ensure!(
                Instant::now() < end,
                "it did not come back to a prompt in {} seconds. (If it is to go on running, write the key that ends \
                 it, ^C say, alone on a line below.) What came until then:\n{}",
                self.patience.as_secs(),
                self.text()
            );
        }
    }

    /// What has come since the last call, without the prompt at its end.
    fn news(&mut self) -> String {
        let mut text = self.text();
        self.seen = self.session.stdout().len();
        if !self.prompt.is_empty() && text.ends_with(&self.prompt) {
            text.truncate(text.len() - self.prompt.len());
        }
        text
    }
}

/// Waits until no process of the host is busy, and nothing new comes; at most for [`BUSY`]. Returns whether it came to
/// that.
fn quiet(host: &Host, terminals: &mut Terminals) -> anyhow::Result<bool> {
    let end = Instant::now() + BUSY;
    let mut look = || {
        let busy = busy(host);
        let mut length = 0;
        for terminal in terminals.iter_mut().flatten() {
            terminal.session.catch_up()?;
            length += terminal.session.stdout().len();
        }
        anyhow::Ok((busy, length))
    };
    let (mut last, mut same) = (look()?, 0);
    while Instant::now() < end && same < 3 {
        thread::sleep(LOOK);
        let now = look()?;
        same = if now == last && now.0.is_some() { same + 1 } else { 0 };
        last = now;
    }
    Ok(same == 3)
}

/// What tells whether the host's processes do anything: how often each of them went to sleep. None if one is awake.
fn busy(host: &Host) -> Option<Vec<(u32, String)>> {
    let mut list = Vec::new();
    for entry in fs::read_dir(host.path("/proc")).ok()?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
        let field = |name| {
            status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
        };
        if !field("State:").starts_with(['S', 'T', 't', 'Z']) {
            return None;
        }
        list.push((
            pid,
            format!(
                "{} {}",
                field("voluntary_ctxt_switches:"),
                field("nonvoluntary_ctxt_switches:")
            ),
        ));
    }
    list.sort();
    Some(list)
}

/// Where sessions run, and what they need.
pub struct Stage<'a> {
    pub steps: &'a Steps,
    pub patience: Duration,
}

impl Stage<'_> {
    /// Runs a session, and returns its block.
    ///
    /// # Errors
    /// If it cannot be run as it stands: what has to be changed in the guide.
    pub fn play(&self, step: Step, words: &[String], body: &[String]) -> anyhow::Result<Text> {
        let words = Words::parse(words)?;
        let name = self.steps.name(step)?.to_string();
        let lines = parse(body)?;
        if let Some(missing) = self.missing(step, &words)? {
            return Ok(missing);
        }
        // The programs that it names.
        let mut programs = BTreeMap::new();
        let typed = body.join("\n");
        for step in self.steps.all() {
            let other = self.steps.name(step)?;
            if other == name || typed.contains(other) {
                programs.insert(other.to_string(), self.steps.program(step)?);
            }
        }
        if let Some(solution) = &words.solution {
            programs.insert(name.clone(), self.steps.solved(step, solution)?);
        }
        programs.insert("my-container".to_string(), programs[&name].clone());
        if typed.contains("target/debug/look") {
            programs.insert("look".to_string(), self.steps.package("look")?);
        }
        let setup = Setup::new(&programs[&name]);
        let setup = if step.number() < 5 { setup.without_rootfs() } else { setup };
        let host = match setup.start() {
            Ok(host) => host,
            Err(missing) => return Ok(Text::Keep { why: missing.to_string(), grave: true }),
        };
        let cgroups = if words.cgroups { Some(Cgroups::on(&host)) } else { None };
        let cgroups = match cgroups.transpose() {
            Ok(cgroups) => cgroups,
            Err(missing) => return Ok(Text::Keep { why: missing.to_string(), grave: true }),
        };
        furnish(self.steps.root(), &host, &programs, &words)?;
        let played = play(&host, &lines, &words, self.patience);
        drop(host);
        drop(cgroups); // they have to be empty
        let new = fence("console", &played?);
        let again = parse(&new)?;
        let same = again.len() == lines.len()
            && again.iter().zip(&lines).all(|(one, other)| match (one, other) {
                (Line::Typed { text: one, .. }, Line::Typed { text: other, .. }) => one == other,
                _ => one == other,
            });
        ensure!(
            same,
            "a line of its output begins like a prompt, and could not be told from a command the next time: let the \
             command print something else\n{}",
            new.join("\n")
        );
        Ok(Text::Lines(new))
    }

    /// Whether this machine lacks something.
    fn missing(&self, step: Step, words: &Words) -> anyhow::Result<Option<Text>> {
        let keep = |why: &str, grave| Ok(Some(Text::Keep { why: why.to_string(), grave }));
        let v2 = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
            .is_ok_and(|list| list.contains("pids"));
        let v1 = Path::new("/sys/fs/cgroup/pids").is_dir();
        match words.layout.as_deref() {
            Some("v2") if !v2 => {
                return keep(
                    "it needs cgroup v2, and this machine has another layout (scripts/vm/test.sh guide runs it on one \
                     that has it)",
                    false,
                );
            }
            Some("v1") if !v1 => {
                return keep("it needs cgroup v1, and this machine has another layout", false);
            }
            _ => {}
        }
        if !is_root() {
            return keep(
                "sessions need root: the classroom host is to have a root and an ordinary user (sudo)",
                true,
            );
        }
        if step.number() >= 5 {
            let rootfs = match classroom::rootfs() {
                Ok(rootfs) => rootfs,
                Err(missing) => return keep(&missing.to_string(), true),
            };
            let origin = fs::read_to_string(rootfs.join(".rootfs-origin")).unwrap_or_default();
            if !origin.starts_with("Alpine") {
                return keep(
                    "it needs Alpine's root filesystem, and this one is another: ./rootfs-fetch.sh --force, with a \
                     network or with ROOTFS_TARBALL",
                    true,
                );
            }
        }
        Ok(None)
    }
}

/// The classroom's cargo: the programs are built already. It takes the program's place, as cargo does.
const CARGO: &str = r#"#!/bin/sh
fail() {
    echo "error: $*" >&2
    exit 101
}
[ "$1" = run ] || fail "the classroom's cargo can only run -q -p NAME -- ARGUMENTS"
quiet= name=
shift
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    case $1 in
    -q | --quiet) quiet=yes ;;
    -p | --package) name=$2 && shift ;;
    -qp) quiet=yes name=$2 && shift ;;
    *) fail "the classroom's cargo does not know $1" ;;
    esac
    shift
done
[ $# = 0 ] || shift
[ "$quiet" ] || fail "the classroom's cargo has nothing to tell: -q"
[ -x "target/debug/$name" ] || fail "there is no target/debug/$name here"
exec "target/debug/$name" "$@"
"#;

/// The top of the repository, as far as a learner looks at it.
const FILES: &[&str] = &["Cargo.toml", "README.md", "my-container", "rootfs-fetch.sh", "steps"];

/// Makes a machine of the host on which somebody works.
fn furnish(
    root: &Path,
    host: &Host,
    programs: &BTreeMap<String, PathBuf>,
    words: &Words,
) -> anyhow::Result<()> {
    let write = |inside: &str, text: &str, mode: u32| {
        let path = host.path(inside);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        let made = made.and_then(|()| fs::write(&path, text));
        let made = made.and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)));
        made.with_context(|| format!("cannot write {inside} of the classroom host"))
    };
    write("/home/learner/.bashrc", "", 0o644)?;
    let bins = ["/root/.cargo/bin", "/home/learner/.cargo/bin"];
    for folder in ["/run", "/mnt", "/workshop/target/debug"].iter().chain(&bins) {
        fs::create_dir_all(host.path(folder)).with_context(|| format!("cannot make {folder}"))?;
    }
    // Other users of the machine are not known here, nor what its administrator has bash say.
    let etc = [
        (
            "passwd",
            "root:x:0:0:root:/root:/bin/bash\nlearner:x:1000:1000::/home/learner:/bin/bash\n",
        ),
        ("group", "root:x:0:\nlearner:x:1000:\n"),
        ("bash.bashrc", ""),
    ];
    // What is to be executed is written by another process. A file that this one has open for writing is open in each
    // child that another thread starts meanwhile, and "text file busy" until that has become another program.
    write("/run/etc/cargo", CARGO, 0o755)?;
    let mut script = "set -eu\n".to_string();
    for bin in bins {
        script += &format!("cp /run/etc/cargo {bin}/cargo\n");
    }
    for (name, text) in etc {
        write(&format!("/run/etc/{name}"), text, 0o644)?;
        script += &format!("[ ! -e /etc/{name} ] || mount --bind /run/etc/{name} /etc/{name}\n");
    }
    _ = fs::remove_file(host.path("/workshop").join(host.program()));
    let copy = |from: &Path, to: &Path| {
        let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
        ensure!(copied.context("cannot run cp")?.success(), "cannot copy {}", from.display());
        Ok(())
    };
    for (name, program) in programs {
        copy(program, &host.path("/workshop/target/debug").join(name))?;
    }
    for file in FILES {
        if root.join(file).exists() {
            copy(&root.join(file), &host.path("/workshop"))?;
        }
    }
    script += "rm -r /run/etc\n";
    if words.user {
        script += "chown -R 1000:1000 /home/learner /workshop\n";
    } else {
        script += "chown -R 1000:1000 /home/learner; chown -R 0:0 /workshop\n";
    }
    // The first terminal is 4711.
    script += "[ ! -e /proc/sys/kernel/ns_last_pid ] || echo 4710 >/proc/sys/kernel/ns_last_pid\n";
    let done = host.run(&script)?;
    ensure!(done.status == 0, "cannot set up the classroom host: {}", done.stderr);
    Ok(())
}

/// Types the lines, and returns them with what they print.
fn play(
    host: &Host,
    lines: &[Line],
    words: &Words,
    patience: Duration,
) -> anyhow::Result<Vec<String>> {
    let mut normal = Normal::new(|kind| namespace(host, kind), borrowed(host)?);
    let mut terminals: Terminals = [None, None, None];
    let mut written: Vec<String> = Vec::new();
    let Line::Typed { prompt: first, .. } = &lines[0] else {
        bail!("a session begins with a command")
    };
    ensure!(
        ["$ ", "# ", "host$ ", "host# "].contains(&first.as_str()),
        "a session begins with `$ ` or `# `, not with `{first}`"
    );
    for (at, line) in lines.iter().enumerate() {
        let number = line.terminal();
        let what = match line {
            Line::Typed { prompt, text } => format!("`{prompt}{text}`"),
            Line::Key(key) => format!("the key {key}"),
        };
        if terminals[number].is_none() {
            let (prompt, user) = match number {
                0 if first.starts_with('#') => ("# ", words.user),
                0 => ("$ ", words.user),
                1 => ("host$ ", words.user),
                _ => ("host# ", false),
            };
            let columns = if words.wide { 160 } else { 100 };
            let terminal = Terminal::open(host, prompt, user, columns, patience)?;
            if let Some(file) = terminal.session.terminal() {
                normal.terminal(&file.to_string_lossy());
            }
            terminals[number] = Some(terminal);
        }
        // What one terminal does may show on the other one: what has come belongs above this line.
        let calm = quiet(host, &mut terminals)?;
        for (other, terminal) in terminals.iter_mut().enumerate() {
            let Some(terminal) = terminal else { continue };
            if other == number && matches!(line, Line::Typed { .. }) {
                terminal.ready().with_context(|| format!("in front of {what}"))?;
            }
            if let (Some(prompt), false) = (terminal.at_prompt(), other == number) {
                terminal.prompt = prompt; // somebody has ended its command
            }
            let news = terminal.news();
            if !news.is_empty() {
                written.extend(normal.output(&news, inside(&terminal.prompt)));
            }
        }
        let terminal = terminals[number].as_mut().context("no terminal")?;
        let typed = match line {
            Line::Typed { text, .. } => {
                written.push(format!("{}{text}", terminal.prompt).trim_end().to_string());
                text
            }
            Line::Key(key) => {
                written.push(key.clone());
                key
            }
        };
        let last = host.processes().into_iter().map(|(pid, _)| pid).max();
        normal.processes(last.unwrap_or_default(), calm);
        ensure!(
            terminal.session.status().is_none(),
            "in front of {what}: the terminal's shell has ended"
        );
        let was_inside = inside(&terminal.prompt);
        terminal.prompt.clear();
        terminal.session.send(bytes(typed))?;
        // What was typed comes back first.
        echo(terminal, typed);
        let next = lines[at + 1..].iter().find(|next| next.terminal() == number);
        let elsewhere = lines.get(at + 1).is_some_and(|next| next.terminal() != number);
        if elsewhere || matches!(next, Some(Line::Key(_))) {
            // It may go on running.
            quiet(host, &mut terminals)?;
        } else {
            terminal.ready().with_context(|| format!("after {what}"))?;
        }
        let terminal = terminals[number].as_mut().context("no terminal")?;
        if let Some(prompt) = terminal.at_prompt() {
            terminal.prompt = prompt;
        }
        let news = terminal.news();
        let news = strip_echo(&news, typed);
        written.extend(normal.output(news, was_inside && inside(&terminal.prompt)));
    }
    Ok(written)
}

/// Whether this is the prompt of a shell in a container.
fn inside(prompt: &str) -> bool {
    prompt.starts_with(['/', '~'])
}

/// Waits until the terminal has echoed something.
fn echo(terminal: &mut Terminal, typed: &str) {
    if is_key(typed) {
        return; // not every key shows
    }
    let end = Instant::now() + terminal.patience;
    while !terminal.text().contains('\n')
        && Instant::now() < end
        && terminal.session.status().is_none()
    {
        terminal.session.poll(Duration::from_millis(50));
    }
}

/// Takes off what was typed and has come back.
fn strip_echo<'a>(text: &'a str, typed: &str) -> &'a str {
    let mut rest = text.char_indices().peekable();
    let mut end = 0;
    // A line editor breaks long lines: blanks and line ends do not count.
    for wanted in typed.chars().filter(|c| !c.is_whitespace()) {
        while rest.peek().is_some_and(|(_, c)| c.is_whitespace()) {
            rest.next();
        }
        match rest.next() {
            Some((at, c)) if c == wanted => end = at + c.len_utf8(),
            _ => {
                end = 0;
                break;
            }
        }
    }
    let text = &text[end..];
    text.strip_prefix('\n')
        .unwrap_or(text.trim_start_matches(' ').strip_prefix('\n').unwrap_or(text))
}

/// How many mounts the host has borrowed from the machine.
fn borrowed(host: &Host) -> anyhow::Result<usize> {
    let mounts = host.read("/proc/1/mountinfo")?;
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(places.filter(|place| is_borrowed(place)).count())
}

/// The number of a namespace that the host's first process is in.
fn namespace(host: &Host, kind: &str) -> Option<String> {
    let link = fs::read_link(format!("/proc/{}/ns/{kind}", host.pid())).ok()?;
    let link = link.to_string_lossy();
    Some(link.split('[').nth(1)?.trim_end_matches(']').to_string())
}
