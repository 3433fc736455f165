//! What is handed from `run` to `child`, and from `child` to the command.

use classroom::root::quoted;

use super::Explains::All;
use super::{Case, Row, otherwise, said, seen};
use crate::lab::Call;

pub const ROWS: &[Row] = &[
    seen(
        "named",
        |it| shift(it) == Some(Shift::More),
        "`child` has got more than the command: {handed}. What stands before the command on `run`'s own command line \
         (its name, and `run`) is not for `child`: skip it, skip(2)",
    ),
    seen(
        "named",
        |it| shift(it) == Some(Shift::Less),
        "the command has not reached `child` as a whole: {handed}. On `run`'s own command line only its name and `run` \
         stand before the command, that is skip(2)",
    ),
    seen(
        "named",
        |it| shift(it) == Some(Shift::Eaten) && is_told(it),
        "`child` has taken the first words of the command for something of its own: {handed}. What `child` expects \
         before the command (from step 04 on the runner's number, read_link(\"/proc/self\"); in step 10 the name of \
         the cgroup) has to be handed on by `run`, in the same order",
    ),
    seen(
        "named",
        |it| shift(it) == Some(Shift::Unknown),
        "your program starts itself with the word `child`, and knows no such subcommand: the name of the variant of \
         your `enum`, in small letters, is the word (or what #[command(name = …)] says)",
    ),
    seen(
        "named",
        |it| shift(it) == Some(Shift::Refused),
        "`child` has got the command as it is, {handed}, and its parser takes an option of the command's for one of \
         its own: `child` needs the same list of words as `run`, with trailing_var_arg = true (one `Args` for both, \
         #[command(flatten)])",
    ),
    seen(
        "named",
        |it| shift(it) == Some(Shift::Behind),
        "something stands behind the command: {handed}. From the command on everything belongs to the command: what is \
         for `child` itself (its options, the runner's number) has to be handed on before it",
    ),
    seen(
        "named",
        |it| shift(it) == Some(Shift::Misplaced),
        "the subcommand `child` does not come first: {handed}. It tells the two halves apart, and stands right behind \
         /proc/self/exe",
    ),
    seen(
        "named",
        |it| shift(it) == Some(Shift::Joined),
        "the words of the command were made one: {handed}. Each of them is an argument of its own, Command::args",
    ),
    seen(
        "named",
        |it| tried_name(it).is_some_and(|name| name == "child"),
        "there is no program called `child`: what has to be started again is your own program, /proc/self/exe, and \
         `child` is its first argument",
    ),
    seen(
        "runs",
        |it| {
            let words = it.done.words();
            words.len() > 1
                && shift(it).is_none()
                && tried_name(it).is_some_and(|name| name != words[0] && words[1..].contains(&name))
        },
        "another word of the command was taken for the program: it was looked for as {tried}. The first one, \
         command[0], is the program, and command[1..] are its arguments",
    ),
    seen(
        "waits",
        |it| {
            let trace = it.trace();
            let leaves = |call: &Call| call.pid == trace.runner();
            it.done.status == Some(0)
                && it.done.stdout.is_empty()
                && !trace.second_halves().is_empty()
                && trace.waited().is_none()
                && trace.named("exit_group").any(leaves)
        },
        "`run` does not wait for `child`: it starts it, and ends at once. wait(2) for it, for example with \
         Child::wait()",
    ),
    seen(
        "runs",
        |it| {
            it.lab().check() == "runs"
                && it.done.status == Some(0)
                && it.done.stdout.is_empty()
                && it.trace().command().is_some()
                && it.trace().waited().is_some()
        },
        "the command has run, and what it says does not come out: stdout of the command (or of `child`) is not that of \
         your program. No Stdio::piped, no output(): spawn() and status() inherit it",
    ),
    said(
        "dies_with_runner",
        |it| it.says("the runner has died") && !reads_status_of_init(it),
        "the runner has not died, but your program believes it: PPid in /proc/self/status is not what `child` has got \
         as the runner's number. Either it was not handed on first, child.arg(read_link(\"/proc/self\")), with \
         `child`'s fields in the same order; or the two numbers are not of the same kind (both come from the host's \
         /proc; in the new PID namespace getppid(2) is 0, and numbers begin at 1). `child` was started as {handed}",
    ),
    said(
        "dies_with_runner",
        |it| it.says("the runner has died") && reads_status_of_init(it),
        "`child` has read /proc/1/status: it is number 1 itself in its PID namespace, but /proc is still the host's, \
         and there 1 is the host's init. /proc/self is whoever looks, in each /proc",
    ),
    said(
        "orphans",
        |it| it.says_one_of(&["No child processes", "ECHILD"]),
        "ECHILD: nobody is left to wait for. The loop that waits goes on after the process that it waits for has \
         ended: it did not know it by its number. It has to end as soon as what wait(2) returns *is* (==) Child::id()",
    ),
    said(
        "named",
        |it| it.trace().is_empty() && looked_for(it).is_some_and(|name| name != it.done.words()[0]),
        "your program looks for a command called {tried}, and that was not asked for: `child` gets one word too many, \
         or in another order than its fields. Behind `child` come, from step 04 on, the runner's number, in step 10 \
         the name of the cgroup, and then what stands behind `run`: args_os().skip(2). (`child` itself starts \
         command[0].)",
    ),
    seen(
        "lookup",
        |it| it.done.status == Some(127) && !is_in_path(it),
        "/bin is not in PATH: the command was looked for as {tried}. PATH is a list of folders with colons in between, \
         and has to be set for the process that looks the command up",
    ),
    seen(
        "named",
        |it| !it.trace().second_halves().is_empty() && !is_told(it),
        "your program starts itself again without saying that it is the second half: the first argument behind \
         /proc/self/exe has to be the subcommand `child`",
    ),
    said("", |it| it.done.stderr.contains("panicked at "), "{panic}").of(All),
    said(
        "",
        |it| {
            it.done.status == Some(2) && !usage(it).is_empty() && shift(it).is_none() && is_told(it)
        },
        "{usage}",
    )
    .of(All),
    otherwise(
        |it| it.done.stderr.contains("nothing is here yet"),
        "nothing is typed yet: `run` has to start the command (fork(2) and execve(2): Command::spawn), and wait for it",
    ),
    otherwise(
        |it| it.done.status == Some(0) && !it.done.stderr.contains("nothing is here yet"),
        "the command was not started: `run` has to start it with Command::spawn (fork(2) and execve(2)), and its \
         stdin, stdout and stderr have to be those of your program",
    ),
    otherwise(
        |it| it.done.status == Some(127),
        "the command was not found (ENOENT): it is looked up in PATH, inside; is PATH set, and is this the right root \
         directory?",
    ),
    otherwise(
        |it| failed_otherwise(it) && it.said.is_empty(),
        "the command did not run, and your program does not say why: print the error in main",
    ),
    otherwise(
        |it| failed_otherwise(it) && !it.said.is_empty() && it.call().is_none(),
        "your program stopped before the command ran; its message above says at what",
    ),
    otherwise(
        |it| failed_otherwise(it) && !it.said.is_empty() && it.call().is_some(),
        "the system call that failed is {call}. Its manual page lists the reasons under ERRORS. Before it came: \
         {before}",
    ),
];

fn failed_otherwise(it: &Case) -> bool {
    !matches!(it.done.status, Some(0 | 127)) && !it.done.stderr.contains("nothing is here yet")
}

/// How what was run differs from what was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shift {
    Misplaced,
    Joined,
    More,
    Less,
    Eaten,
    Refused,
    Unknown,
    Behind,
}

/// Whether it has looked at somebody else's status.
fn reads_status_of_init(it: &Case) -> bool {
    it.trace().named("open").any(|call| call.done() && call.arg(0) == "/proc/1/status")
}

fn shift(it: &Case) -> Option<Shift> {
    let asked = it.done.words();
    let handed = handed_words(it)?;
    if it.says("unrecognized subcommand 'child'") {
        return Some(Shift::Unknown);
    }
    let run = it.trace().last_exec().map(|call| call.words()).filter(|words| !words.is_empty());
    let run = run.or_else(|| announced(&it.done.stderr));
    let behind =
        handed.iter().position(|word| word == "child").map_or(&handed[..], |at| &handed[at + 1..]);
    let last = handed.iter().rposition(|word| word == "child");
    if last.is_some_and(|at| at > 0) && handed.first().is_some_and(|word| word != "child") {
        return Some(Shift::Misplaced);
    }
    if asked.len() > 1 && behind.contains(&asked.join(" ")) {
        return Some(Shift::Joined);
    }
    if behind.len() > asked.len() && behind.ends_with(asked) {
        let before = &behind[..behind.len() - asked.len()];
        let own = [it.trace().program(), "run"];
        if before.iter().any(|word| own.contains(&word.as_str())) {
            return Some(Shift::More);
        }
    }
    if !behind.ends_with(asked) {
        let whole = asked.iter().all(|word| behind.contains(word));
        return Some(if whole { Shift::Behind } else { Shift::Less });
    }
    let refused =
        it.said.split_once("unexpected argument '").and_then(|(_, rest)| rest.split('\'').next());
    if refused.is_some_and(|word| asked.iter().any(|own| own.starts_with(word))) {
        return Some(Shift::Refused);
    }
    let eaten = match run {
        Some(run) => asked.len() > run.len() && asked.ends_with(&run),
        None => it.done.status == Some(2),
    };
    (behind.ends_with(asked) && eaten).then_some(Shift::Eaten)
}

/// What the second half says that it runs: `Running ["echo", "hello"] as 1`. The first half has said so before.
fn announced(stderr: &str) -> Option<Vec<String>> {
    let mut lines = stderr.lines().filter_map(|line| line.strip_prefix("Running [")).skip(1);
    let (list, _) = lines.next()?.split_once("] as ")?;
    Some(list.split(", ").map(|word| word.trim_matches('"').to_string()).collect())
}

/// Whether the command was looked for where programs are.
fn is_in_path(it: &Case) -> bool {
    let tried = tried_paths(it);
    tried.is_empty()
        || tried.iter().any(|path| path.starts_with("/bin/") || path.starts_with("/usr/bin/"))
}

fn tried_paths(it: &Case) -> Vec<String> {
    let failed = it.trace().tries();
    failed.iter().map(|call| call.arg(0).to_string()).collect()
}

/// The name of the program that could not be started.
fn tried_name(it: &Case) -> Option<String> {
    let tried = tried_paths(it);
    it.trace().command().is_none().then_some(())?;
    tried.last()?.rsplit('/').next().map(String::from)
}

/// Where the command was looked for.
pub fn tried(it: &Case) -> String {
    if it.trace().is_empty() {
        return looked_for(it).map_or(String::new(), |name| format!("{name:?}"));
    }
    let paths = tried_paths(it).into_iter().take(2).map(|path| format!("{path:?}"));
    paths.collect::<Vec<_>>().join(", ")
}

/// What the program says that it cannot run: `cannot run "hello": No such file or directory`.
fn looked_for(it: &Case) -> Option<String> {
    let (_, name) = it.said.split_once("cannot run \"")?;
    Some(name.split_once('"')?.0.to_string()).filter(|_| it.done.status == Some(127))
}

/// Whether the second half is told that it is.
fn is_told(it: &Case) -> bool {
    handed_words(it).is_none_or(|words| words.iter().any(|word| word == "child"))
}

/// The arguments of the second half, without its name.
fn handed_words(it: &Case) -> Option<Vec<String>> {
    let halves = it.trace().second_halves();
    Some(halves.first()?.words().into_iter().skip(1).collect())
}

/// What `run` hands on, as one would type it.
pub fn handed(it: &Case) -> String {
    if it.trace().is_empty() {
        return "… (strace(1) would show it)".into();
    }
    let words = handed_words(it).unwrap_or_default();
    format!("`{}`", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "))
}

/// What a panic says, and what to do.
pub fn panic(it: &Case) -> String {
    let (_, panic) = it.done.stderr.split_once("panicked at ").unwrap_or_default();
    let place = panic.lines().next().unwrap_or_default().trim_end_matches(':');
    let message = panic.lines().nth(1).unwrap_or_default();
    let text = ["OsString", "unicode", "\\xFF", "\\xff"];
    let in_std = place.starts_with("/rustc/");
    let place = if in_std { "a function of the standard library that you call" } else { place };
    let cure = if text.iter().any(|sign| message.contains(sign)) {
        "an argument is a row of bytes, and need not be text: std::env::args_os, and OsString"
    } else {
        "unwrap() and expect() make a panic of an error: hand it to main with `?`, and let main print it"
    };
    format!("your program panicked at {place}: {message}. {cure}")
}

/// What the parser of the command line complains of, and what to do. Empty if it does not.
pub fn usage(it: &Case) -> String {
    let Some(line) = it.done.stderr.lines().find_map(|line| line.strip_prefix("error: ")) else {
        return String::new();
    };
    let cures = [
        (
            "unrecognized subcommand",
            "every call begins with the subcommand `run`; from step 03 on there is a `child` as well",
        ),
        (
            "unexpected argument",
            "an option is missing, or everything behind the command has to be left to it: `trailing_var_arg = true`",
        ),
        (
            "cannot be used multiple times",
            "`run` hands the option on to `child`, and what stands behind `run` has it once more. (--rootfs: from step \
             09 on `run` itself enters the root filesystem, and `child` need not be told)",
        ),
        ("invalid UTF-8", "arguments are bytes, not text: let clap collect them as OsString"),
        (
            "for '--memory",
            "your parser of --memory does not know that: it is a number of bytes, or one with a letter, k, m or g, \
             small or large (powers of 1024); parse_size's Config::new().with_binary() reads all of them",
        ),
        ("invalid value", "what stands there is not of the type that the option or argument has"),
        (
            "required arguments were not provided",
            "what `run` hands on to `child` is less than `child` takes: its own arguments first, then all of the \
             command",
        ),
    ];
    let cure = cures
        .iter()
        .find(|(sign, _)| line.contains(sign))
        .map_or("compare the #[arg(…)] attributes with those of the step", |(_, cure)| cure);
    format!("your program does not understand its own command line ({line}): {cure}")
}
