//! The tool on small guides of two steps, which are shell scripts where a session runs them.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use classroom::error::Attempt;
use classroom::root::is_root;
use classroom::{Error, Result, trial, trials};
use guide::document::{Document, Part, PartKind};
use guide::{Report, Task};
use steps::Steps;
use tempfile::TempDir;

const ONE: &str = "\
//! Step 01: one thing. And more.

fn main() {
    run();
}

/// Runs.
#[must_use]
fn run() -> u32 {
    1
}

const NAME: &str = \"x\";
";

const TWO: &str = "\
//! Step 02: two things.

fn main() {
    run();
}

/// Runs.
#[must_use]
fn run() -> u32 {
    let two = 2;
    two
}

const NAME: &str = \"x\";



// far
// away
fn last() {}
";

fn main() -> ExitCode {
    trial::run(trials![
        what_is_wrong_with_a_marker_is_said_with_its_chapter_and_line,
        the_document_has_chapters_sections_and_details,
        a_block_can_be_asked_for_alone,
        a_part_of_a_solution_is_asked_for_by_its_words,
        what_a_broken_marker_may_swallow_is_not_written,
        a_changed_step_is_noticed_and_mended,
        what_is_stale_is_shown_without_git_too,
        every_hunk_is_shown_once,
        links_lead_somewhere,
        man_pages_exist,
        the_schedule_adds_up,
        a_session_shows_what_its_commands_print,
        a_session_has_a_second_terminal_and_keys,
        a_session_can_be_an_ordinary_users,
        a_session_can_be_a_picture,
        a_command_that_does_not_end_is_named_with_what_came_until_then,
        an_output_that_looks_like_a_command_is_refused,
        times_and_namespaces_look_the_same_every_time,
        a_slow_machine_looks_like_a_fast_one,
    ])
}

/// A step as a session sees it: `run COMMAND` says who it is, and runs the command.
const PROGRAM: &str = "#!/bin/sh\nshift\necho \"Running $1 as $$\" >&2\n\"$@\"\n";

/// A repository with a guide.
struct Repo(TempDir);

impl Repo {
    fn new(guide: &str) -> Repo {
        let repo = Repo(TempDir::new().expect("no temporary folder"));
        repo.write("steps/step01_one/src/main.rs", ONE);
        repo.write("steps/step02_two/src/main.rs", TWO);
        for name in ["step01_one", "step02_two"] {
            classroom::executable(&repo.0.path().join("built").join(name), PROGRAM).expect("write");
        }
        repo.write("guide.md", guide);
        repo
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.path().join(file);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("mkdir");
        fs::write(path, text).expect("write");
    }

    fn read(&self) -> String {
        fs::read_to_string(self.0.path().join("guide.md")).expect("the guide is gone")
    }

    fn run(&self, check: bool) -> Report {
        self.run_block(check, None).expect("the tool has failed")
    }

    fn run_block(&self, check: bool, block: Option<&str>) -> anyhow::Result<Report> {
        let root = self.0.path();
        guide::run(&Task {
            steps: Steps::find(root)?.built_in(&root.join("built")),
            file: "guide.md".into(),
            check,
            block: block.map(str::to_string),
            patience: Duration::from_secs(10),
        })
    }

    /// What is wrong with it, without what the small guides never have.
    fn wrong(&self) -> String {
        let problems = self.run(true).problems;
        let all = problems.iter().map(|one| one.to_string()).collect::<Vec<_>>();
        all.into_iter().filter(|one| !one.contains("is not shown")).collect::<Vec<_>>().join("\n")
    }
}

#[track_caller]
fn assert_wrong(guide: &str, expected: &[&str]) {
    let wrong = Repo::new(guide).wrong();
    for part in expected {
        assert!(wrong.contains(part), "expected {part:?} in:\n{wrong}");
    }
    assert_eq!(wrong.is_empty(), expected.is_empty(), "{wrong}");
}

fn what_is_wrong_with_a_marker_is_said_with_its_chapter_and_line() -> Result<()> {
    let chapter = "# Guide\n## 1. One\n";
    for (text, expected) in [
        ("<!-- diff 02 -->\n", "line 3, chapter \"1. One\": `diff 02` has no end"),
        ("<!-- end -->\n", "line 3, chapter \"1. One\": an `end` without a beginning"),
        (
            "<!-- diff 02 -->\n<!-- code 01 -->\n<!-- end -->\n",
            "line 4, chapter \"1. One\": `code 01` begins inside `diff 02` (line 3)",
        ),
        ("<!-- diff 99 -->\n<!-- end -->\n", "there is no step 99: the steps are numbered 1 to 10"),
        ("<!-- diff x -->\n<!-- end -->\n", "there is no step x: the steps are numbered"),
        ("<!-- diff -->\n<!-- end -->\n", "the number of the step is missing"),
        ("<!-- diff 02 hunks 9 -->\n<!-- end -->\n", "step 02 has 2 hunks, and no hunk 9"),
        ("<!-- diff 02 hunks 2-1 -->\n<!-- end -->\n", "\"2-1\" is not a list of hunks"),
        ("<!-- code 01 nothing -->\n<!-- end -->\n", "step01_one has no nothing"),
        ("<!-- solution 01 x -->\n<!-- end -->\n", "exercises/01-x.patch: No such file"),
        (
            "<!-- session 01 now -->\n```console\n$ ls\n```\n<!-- end -->\n",
            "a session cannot be \"now\"",
        ),
        ("<!-- session 01 -->\nls\n<!-- end -->\n", "a session is a ```console block"),
        (
            "```console\n$ ls\n```\n",
            "line 3, chapter \"1. One\": a ```console block outside a marker",
        ),
        ("```sh\nls\n", "this fence (```) is never closed"),
    ] {
        assert_wrong(&format!("{chapter}{text}"), &[expected]);
    }
    assert_wrong(&format!("{chapter}<!-- a comment -->\n```sh\n# <!-- end -->\n```\n"), &[]);
    Ok(())
}

/// What the book is made of.
fn the_document_has_chapters_sections_and_details() -> Result<()> {
    let text = "\
# G
prose

## 1. `One`

*5 minutes*

### Run it
<!-- session 01 -->
```console
$ ls
## no heading
```
<!-- end -->

```sh
typed
```
<details>
<summary>Notes</summary>

- ask

</details>

## Two
";
    let mut problems = Vec::new();
    let document = Document::parse(text, &mut problems);
    assert_eq!(problems, []);
    let titles: Vec<_> =
        document.chapters.iter().map(|chapter| (&*chapter.title, &*chapter.anchor)).collect();
    assert_eq!(titles, [("", ""), ("1. `One`", "1-one"), ("Two", "two")]);
    let part = |part: &Part| {
        let kind = match &part.kind {
            PartKind::Heading => "heading",
            PartKind::Prose => "prose",
            PartKind::Code(language) => language,
            PartKind::Generated(block) => &block.name,
            PartKind::Html => "html",
        };
        format!(
            "{kind} {:?} {} {}",
            part.lines,
            part.section,
            part.details.as_deref().unwrap_or("-")
        )
    };
    let parts: Vec<_> = document.chapters[1].parts.iter().map(part).collect();
    let expected = [
        "heading 3..4  -",
        "prose 5..6  -",
        "heading 7..8  -",
        "session 01 8..14 Run it -",
        "sh 15..18 Run it -",
        "html 18..20 Run it Notes",
        "prose 21..22 Run it Notes",
        "html 23..24 Run it Notes",
    ];
    assert_eq!(parts, expected);
    Ok(())
}

fn a_block_can_be_asked_for_alone() -> Result<()> {
    let stale = "```rust\nstale\n```\n<!-- end -->\n";
    let repo = Repo::new(&format!(
        "# G\n<!-- code 01 main -->\n{stale}<!-- code 02 main -->\n{stale}[nowhere](#nowhere)\n"
    ));
    let report = repo.run_block(false, Some("02 main")).expect("the tool has failed");
    assert_eq!(report.written, ["code 02 main ()"]);
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert!(repo.read().contains("stale"), "the other one is left as it is");
    let err = repo.run_block(true, Some("code 07")).expect_err("there is none");
    assert_eq!(err.to_string(), "no block's marker has these words");
    Ok(())
}

/// The calls and the function, not what else the patch adds.
fn a_part_of_a_solution_is_asked_for_by_its_words() -> Result<()> {
    let patch = "--- a/steps/step01_one/src/main.rs\n+++ b/steps/step01_one/src/main.rs\n@@ -1,4 +1,15 @@\n \
         //! Step 01: one thing. And more.\n+use a::lock;\n+use b::other;\n fn main() {\n+    lock();\n+    other();\n\
         +    match Lock {\n+        lock\n+    },\n+}\n+\n+/// Locks.\n+fn lock() {\n+    other();\n+}\n\
         +fn other() {\n+    lock();\n+}\n";
    let quoted = "```rust\nuse a::lock;\n\n    lock();\n    match Lock {\n        lock\n    },\n\n\
         /// Locks.\nfn lock() {\n    other();\n}\n```\n";
    let guide =
        |words: &str| format!("## 1. One\n<!-- solution 01 x {words} -->\n{{}}<!-- end -->\n");
    let repo = Repo::new(&guide("lock Lock").replace("{}", ""));
    repo.write("exercises/01-x.patch", patch);
    repo.run(false);
    assert_eq!(repo.read(), guide("lock Lock").replace("{}", quoted));
    let repo = Repo::new(&guide("nothing").replace("{}", ""));
    repo.write("exercises/01-x.patch", patch);
    let wrong = repo.wrong();
    assert!(wrong.contains("exercises/01-x.patch adds nothing with the word nothing"), "{wrong}");
    Ok(())
}

fn what_a_broken_marker_may_swallow_is_not_written() -> Result<()> {
    let text = "# G\n<!-- diff 02 -->\nprose\n<!-- code 01 -->\n<!-- end -->\n";
    let repo = Repo::new(text);
    assert!(!repo.run(false).problems.is_empty());
    assert_eq!(repo.read(), text);
    Ok(())
}

fn a_changed_step_is_noticed_and_mended() -> Result<()> {
    let repo = Repo::new(
        "# G\n## 1. One\n<!-- code 01 run -->\n<!-- end -->\n<!-- code 02 NAME -->\n<!-- end -->\n\
         ## 2. Two\n<!-- diff 02 hunk 2 -->\n<!-- end -->\n<!-- diff 02 hunk 1 -->\n<!-- end -->\n",
    );
    assert_eq!(repo.run(false).problems, []);
    let text = repo.read();
    let run = "```rust\n/// Runs.\n#[must_use]\nfn run() -> u32 {\n    1\n}\n```\n";
    assert!(text.contains(run), "{text}");
    assert!(text.contains("```rust\nconst NAME: &str = \"x\";\n```\n"), "{text}");
    assert!(text.contains("+    let two = 2;\n"), "{text}");
    assert_eq!(repo.run(true).problems, []);
    assert_eq!(repo.run(false).written, Vec::<String>::new());

    repo.write("steps/step02_two/src/main.rs", &TWO.replace("let two = 2;", "let two = 3;"));
    let wrong = repo.wrong();
    for part in [
        "chapter \"2. Two\": `diff 02 hunk 2`",
        "Run `cargo workshop guide`",
        "-+    let two = 2;",
        "++    let two = 3;",
    ] {
        assert!(wrong.contains(part), "expected {part:?} in:\n{wrong}");
    }
    assert_eq!(repo.read(), text, "a check has written");
    assert_eq!(repo.run(false).problems, []);
    assert_eq!(repo.wrong(), "");
    Ok(())
}

fn what_is_stale_is_shown_without_git_too() -> Result<()> {
    let repo = Repo::new("# G\n<!-- code 01 NAME -->\n```rust\nstale\n```\n<!-- end -->\n");
    repo.write("Cargo.toml", "");
    let mut check = Command::new(env!("CARGO_BIN_EXE_guide"));
    check.current_dir(&repo.0).env("PATH", "/nowhere");
    let output = check.args(["--check", "--block", "01 NAME", "guide.md"]).output();
    let output = output.attempt("run the tool")?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("\n-```rust\n-stale\n-```\n+```rust\n+const NAME: &str = \"x\";\n+```\n"),
        "{said}"
    );
    Ok(())
}

fn every_hunk_is_shown_once() -> Result<()> {
    let problems = |guide: &str| {
        let all = Repo::new(guide).run(false).problems;
        all.iter().map(|one| one.to_string()).collect::<Vec<_>>().join("\n")
    };
    let hunk = |list: &str| format!("<!-- diff 02{list} -->\n<!-- end -->\n");
    assert!(problems("# G\n").contains("what step 02 changes is not shown"));
    assert!(problems(&hunk(" hunk 1")).contains("is not shown: <!-- diff 02 hunks 2 -->"));
    assert!(problems(&(hunk("") + &hunk(" hunk 2"))).contains("shown twice: hunks 2"));
    assert_eq!(problems(&hunk("")), "");
    Ok(())
}

fn links_lead_somewhere() -> Result<()> {
    assert_wrong(
        "# G\n[a](#2-the-hostname-new) [b](#1-one) [c](steps/step01_one/src/main.rs) [d](https://example.org/#x)\n\
         [e](#same-1) [f](#same) `[g](#not-a-link)`\n\
         ## 1. One\n## 2. The `hostname`: new!\n### Same\n### Same\n```sh\n# [h](#in-code)\n```\n",
        &[],
    );
    assert_wrong(
        "# G\n## Same\n[a](#sane)\n",
        &["line 3, chapter \"Same\": the link to #sane leads nowhere (#same?)"],
    );
    assert_wrong(
        "# G\n[a](nothing.md)\n",
        &["the link to nothing.md leads nowhere: there is no such file"],
    );
    assert_wrong("# G\n[a](guide.md#x)\n", &["the link to guide.md#x leads nowhere"]);
    Ok(())
}

fn man_pages_exist() -> Result<()> {
    let found = std::process::Command::new("man").args(["-w", "2", "unshare"]).output();
    if !found.is_ok_and(|found| found.status.success()) {
        return Err(Error::Missing(
            "this machine has no man pages (apt install man-db manpages-dev)".into(),
        ));
    }
    assert_wrong("# G\nunshare(2) and `unshare(1)`, but `exit(77)` and f(x) are code\n", &[]);
    assert_wrong("# G\nunshare(3)\n", &["line 2: there is no man page unshare(3) here"]);
    Ok(())
}

fn the_schedule_adds_up() -> Result<()> {
    let chapters = "## 1. One\n*8 / 20 / 30 minutes*\n## 2. Two\n*– / 40 / 35 minutes*\n\
                    ## End\n*2 minutes*\n## Notes\n";
    let repo = Repo::new(&format!("# G\n<!-- schedule -->\n<!-- end -->\n{chapters}"));
    repo.run(false);
    let text = repo.read();
    assert!(text.contains("| [2. Two](#2-two) | – | 40 | 35 |\n"), "{text}");
    assert!(
        text.contains("| **together** | **10 min** | **1 h 02 min** | **1 h 07 min** |\n"),
        "{text}"
    );
    let schedule = "# G\n<!-- schedule -->\n<!-- end -->\n## 1\n";
    assert_wrong(
        &format!("{schedule}*91 minutes*\n"),
        &["the class of 90 minutes takes 91 minutes"],
    );
    assert_wrong(&format!("{schedule}*1 / 2 minutes*\n"), &["expected one number, or three"]);
    Ok(())
}

/// The guide with its session run, and what is wrong with it.
fn session(words: &str, typed: &str) -> Result<(String, String)> {
    if !is_root() {
        return Err(Error::NeedsRoot("the guide's sessions need root".into()));
    }
    let block = |body: &str| {
        format!("# G\n<!-- session {words} -->\n```console\n{body}```\n<!-- end -->\n")
    };
    let repo = Repo::new(&block(typed));
    let report = repo.run(false);
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);
    let wrong: Vec<String> = report.problems.iter().map(|one| one.to_string()).collect();
    let wrong = wrong
        .into_iter()
        .filter(|one| !one.contains("is not shown"))
        .collect::<Vec<_>>()
        .join("\n");
    let text = repo.read();
    if wrong.is_empty() {
        assert_eq!(repo.wrong(), "", "the same session prints something else the second time");
    }
    let body = text.split("```console\n").nth(1).and_then(|rest| rest.split("```").next());
    Ok((body.unwrap_or_default().to_string(), wrong))
}

fn a_session_can_be_a_picture() -> Result<()> {
    if !is_root() {
        return Err(Error::NeedsRoot("the guide's sessions need root".into()));
    }
    let typed = "$ echo 'a  <b>'\nhost$ hostname\n";
    let repo = Repo::new(&format!(
        "# G\n<!-- session 01 svg one.svg -->\n```console\n{typed}```\n<!-- end -->\n"
    ));
    let missing = "line 2: one.svg is no picture of `session 01 svg one.svg` as it is now";
    assert!(repo.wrong().contains(missing), "{}", repo.wrong());
    assert_eq!(repo.run(false).written.len(), 2);
    assert_eq!(repo.wrong(), "");
    let picture = fs::read_to_string(repo.0.path().join("one.svg")).expect("no picture");
    let texts = picture.matches("<text xml:space=\"preserve\"").count();
    assert_eq!(texts, 4, "two commands, and what each prints:\n{picture}");
    assert!(picture.contains(">a  &lt;b&gt;</text>\n"), "{picture}");
    repo.write("one.svg", &picture.replace(">host<", ">another<"));
    assert_eq!(repo.wrong().lines().count(), 1, "{}", repo.wrong());
    assert!(repo.wrong().contains(missing), "{}", repo.wrong());
    Ok(())
}

#[track_caller]
fn assert_session(words: &str, expected: &str) -> Result<()> {
    // Only what is typed, and an output that is no longer true.
    let typed: String = expected
        .lines()
        .filter(|line| line.starts_with(['$', '#', '>', '^']) || line.starts_with("host"))
        .map(|line| format!("{line}\nan old output\n"))
        .collect();
    let (body, wrong) = session(words, &typed)?;
    assert_eq!(wrong, "");
    assert_eq!(body, expected);
    Ok(())
}

fn a_session_shows_what_its_commands_print() -> Result<()> {
    assert_session(
        "01",
        "$ hostname\n\
         host\n\
         $ cargo run -qp step01_one -- run sh\n\
         Running sh as 4713\n\
         # ps -o pid,ppid,args\n    PID    PPID COMMAND\n   4711       0 bash\n   \
         4713    4711 /bin/sh target/debug/step01_one run sh\n   4714    4713 sh\n   4715    4714 ps -o pid,ppid,args\n\
         # exit 3\n\
         $ echo $?\n\
         3\n\
         $ cat <<END\n\
         > some\n\
         > END\n\
         some\n\
         $ cargo build\n\
         error: the classroom's cargo can only run -q -p NAME -- ARGUMENTS\n",
    )
}

fn a_session_has_a_second_terminal_and_keys() -> Result<()> {
    assert_session(
        "01",
        "$ sleep 1000\n\
         host$ ps -C sleep -o pid,tty,args\n    PID TT       COMMAND\n   4712 pts/0    sleep 1000\n\
         ^C\n\
         $ echo $?\n\
         130\n\
         $ cat\n\
         host$ kill $(pgrep -n cat)\n\
         Terminated\n\
         $ sh\n\
         # ^D\n\
         $ echo done\n\
         done\n",
    )
}

fn a_session_can_be_an_ordinary_users() -> Result<()> {
    assert_session(
        "01 user",
        "$ id\n\
         uid=1000(learner) gid=1000(learner) groups=1000(learner)\n\
         $ echo mine > file\n\
         host$ id -un\n\
         learner\n\
         host# id -un\n\
         root\n",
    )
}

fn a_command_that_does_not_end_is_named_with_what_came_until_then() -> Result<()> {
    let (_, wrong) = session("01", "$ echo before; sleep 1000\n$ echo after\n")?;
    for part in [
        "line 2: `session 01`: after `$ echo before; sleep 1000`",
        "in 10 seconds",
        "What came until then:",
        "\nbefore\n",
    ] {
        assert!(wrong.contains(part), "expected {part:?} in:\n{wrong}");
    }
    Ok(())
}

fn an_output_that_looks_like_a_command_is_refused() -> Result<()> {
    let (body, wrong) = session("01", "$ echo '$ no command'\n")?;
    assert!(wrong.contains("a line of its output begins like a prompt"), "{wrong}");
    assert_eq!(body, "$ echo '$ no command'\n");
    Ok(())
}

fn times_and_namespaces_look_the_same_every_time() -> Result<()> {
    assert_session(
        "01",
        "$ touch new; ls -l new\n\
         -rw-r--r-- 1 root root 0 Nov  3 10:15 new\n\
         $ readlink /proc/self/ns/uts\n\
         uts:[4026531838]\n\
         $ unshare --uts readlink /proc/self/ns/uts\n\
         uts:[4026532281]\n\
         $ readlink /proc/self/ns/ipc\n\
         ipc:[4026531839]\n",
    )
}

fn a_slow_machine_looks_like_a_fast_one() -> Result<()> {
    assert_session(
        "01",
        "$ echo '              cpu    at most 50 % of a CPU  held back once'\n              \
         cpu    at most 50 % of a CPU\n",
    )
}
