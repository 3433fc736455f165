//! Users, and what they may do.

use classroom::root::is_root;

use super::Explains::{All, Checks};
use super::{Case, Row, counted, said, seen};
use crate::lab::Call;

/// Why a program with a user namespace may do nothing in it.
pub const NOT_ROOT_INSIDE: &str = "EPERM: there is a user namespace, but your program is not root in it. execve(2) \
    drops all capabilities, unless the user is mapped to 0: write `0 UID 1` to /proc/self/uid_map before you start \
    yourself again";

pub const ROWS: &[Row] = &[
    // --- The maps ---
    seen(
        "setgroups",
        |it| {
            map_failed(it, "gid_map", &["EPERM"])
                && it.trace().written("/setgroups").next().is_none()
        },
        "EPERM: an ordinary user may map a group only when setgroups(2) is given up: write \"deny\" to \
         /proc/self/setgroups *before* gid_map",
    ),
    seen(
        "setgroups",
        |it| {
            map_failed(it, "setgroups", &["EPERM"])
                && it.trace().written("/gid_map").any(Call::done)
        },
        "EPERM: /proc/self/setgroups cannot be changed any more once gid_map is written: first setgroups, then gid_map \
         (write \"deny\" to it *before* gid_map)",
    ),
    seen(
        "user",
        |it| any_map_failed(it) && !has_user_namespace(it),
        "EPERM: {call} comes before the user namespace is there. First unshare(CLONE_NEWUSER), then setgroups, uid_map \
         and gid_map",
    ),
    seen(
        "user",
        |it| {
            map_failed(it, "uid_map", &["EPERM"])
                && has_user_namespace(it)
                && maps(it).contains(" 65534 ")
        },
        "EPERM: {call}: 65534 is what geteuid(2) says inside, as long as nobody is mapped. The number is to be that \
         from before unshare(2)",
    ),
    seen(
        "user",
        |it| {
            map_failed(it, "uid_map", &["EPERM"])
                && has_user_namespace(it)
                && !maps(it).contains(" 65534 ")
                && !it.trace().written("/uid_map").any(Call::done)
        },
        "EPERM: {call}. A line of the map is INSIDE OUTSIDE COUNT, and an ordinary user may map only his own number, \
         and only one: `0 UID 1`, with the UID from before unshare(2) (afterwards geteuid(2) says 65534), written by a \
         process in the new namespace",
    ),
    seen(
        "user",
        |it| {
            let again =
                |file| map_failed(it, file, &["EPERM"]) && it.trace().written(file).any(Call::done);
            has_user_namespace(it) && (again("uid_map") || again("gid_map"))
        },
        "EPERM: a map is written once, in one write(2), and cannot be changed: {call}",
    ),
    seen(
        "user",
        |it| {
            map_failed(it, "gid_map", &["EPERM"])
                && it.trace().written("/setgroups").any(Call::done)
                && has_user_namespace(it)
                && !it.trace().written("/gid_map").any(Call::done)
        },
        "EPERM: {call}. An ordinary user may map only his own group, and only one: `0 GID 1`, with the GID from before \
         unshare(2) (afterwards getegid(2) says 65534)",
    ),
    seen(
        "user",
        |it| map_failed(it, "_map", &["EINVAL"]),
        "EINVAL: {call}. A line of a map is three numbers, INSIDE OUTSIDE COUNT: `0 UID 1`",
    ),
    said(
        "setgroups",
        |it| it.is_denied() && it.says("gid_map") && it.trace().is_empty(),
        "EPERM: an ordinary user may map a group only when setgroups(2) is given up: write \"deny\" to \
         /proc/self/setgroups *before* gid_map",
    ),
    said(
        "user",
        |it| it.is_denied() && it.says("uid_map") && it.trace().is_empty(),
        "EPERM: an ordinary user may map only his own number, and only one: `0 UID 1`, with the UID from before \
         unshare(2) (afterwards geteuid(2) says 65534), written once, by a process in the new namespace",
    ),
    said(
        "setgroups",
        |it| it.is_denied() && it.says("setgroups") && it.trace().is_empty(),
        "EPERM: /proc/self/setgroups cannot be changed any more once gid_map is written: first setgroups, then gid_map \
         (write \"deny\" to it *before* gid_map)",
    ),
    // --- EOVERFLOW: a number that nobody has mapped ---
    seen(
        "user",
        |it| overflows(it) && wrote(it, "/uid_map") && !wrote(it, "/gid_map"),
        "EOVERFLOW: {call}. The file would belong to a group that does not exist inside: only uid_map was written. \
         Write gid_map, too (`0 GID 1`)",
    )
    .of(All),
    seen(
        "user",
        |it| overflows(it) && !wrote(it, "/uid_map"),
        "EOVERFLOW: {call}. The file would belong to a user that does not exist inside: write uid_map (`0 UID 1`) \
         before `child` is started",
    )
    .of(All),
    // --- Not root inside ---
    seen(
        "user",
        |it| forbidden_inside(it) && !wrote(it, "/uid_map"),
        "EPERM: {call}. There is a user namespace, but your program is not root in it: nobody has written uid_map. \
         execve(2) drops all capabilities, unless the user is mapped to 0: write `0 UID 1` to /proc/self/uid_map \
         before you start yourself again",
    ),
    seen(
        "user",
        |it| forbidden_inside(it) && wrote(it, "/uid_map") && !maps_root(it),
        "EPERM: {call}. There is a user namespace, but your program is not root in it: {map} maps another number. A \
         line is INSIDE OUTSIDE COUNT: `0 UID 1`",
    ),
    seen(
        "user",
        |it| forbidden_inside(it) && maps_root(it) && is_mapped_late(it),
        "EPERM: {call}. The maps were written when `child` was started already: at its execve(2) nobody was mapped, \
         and it has lost all capabilities. Write them in `run` between unshare(2) and spawn()",
    ),
    seen(
        "without_root",
        |it| forbidden_inside(it) && maps_root(it) && !is_mapped_late(it) && !is_first(it),
        "EPERM: {call}. What belongs to a namespace may only be changed by who is root in the user namespace that it \
         was made in: CLONE_NEWUSER comes first, or in the same call",
    ),
    // --- Not root at all ---
    seen(
        "",
        |it| {
            is_forbidden(it)
                && !has_user_namespace(it)
                && !it.trace().asks("CLONE_NEWUSER")
                && !is_root_on_host(it)
        },
        "EPERM: {call}. An ordinary user may create the other namespaces only inside a user namespace of his own: \
         CLONE_NEWUSER in the same unshare(2), or before it",
    ),
    counted(
        "",
        |it| it.is_denied() && it.says("cgroup") && !is_root(),
        "EPERM: only root may make a cgroup (or whom root has given one): use sudo{root}",
    ),
    said(
        "user",
        |it| {
            it.is_denied()
                && !it.says_one_of(&["_map", "setgroups", "cgroup", "/dev/"])
                && it.trace().is_empty()
        },
        "EPERM: your program may not do that. Everything but step 09 takes root (sudo), and what belongs to a \
         namespace may only be changed by who is root in the user namespace that it was made in: CLONE_NEWUSER comes \
         first, or in the same call, and `0 UID 1` is written to uid_map before `child` is started",
    ),
    counted(
        "",
        |it| {
            let forbidden = it.call().is_some_and(|call| call.error.as_deref() == Some("EPERM"));
            forbidden && !is_root() && !it.done.learner && !it.trace().asks("CLONE_NEWUSER")
        },
        "EPERM: {call}. As an ordinary user the check runs in a user namespace, and there this is not allowed; \
         to root it may be{root}",
    ),
    seen(
        "user",
        |it| wrote(it, "/uid_map") && !wrote(it, "/gid_map"),
        "65534 is the number for groups that nobody has mapped: only uid_map was written. Write gid_map, too (`0 GID \
         1`), before the command is started",
    )
    .of(Checks(&["user", "without_root"])),
];

fn map_failed(it: &Case, file: &str, errors: &[&str]) -> bool {
    it.failed("write", errors) && it.call().is_some_and(|call| call.file().ends_with(file))
}

fn any_map_failed(it: &Case) -> bool {
    ["uid_map", "gid_map", "setgroups"].iter().any(|file| map_failed(it, file, &["EPERM"]))
}

/// All that was to be written to maps.
fn maps(it: &Case) -> String {
    let maps = it.trace().written("_map");
    maps.map(|call| format!(" {} ", call.arg(1).trim())).collect()
}

fn wrote(it: &Case, file: &str) -> bool {
    it.trace().written(file).any(Call::done)
}

/// Whether the user is mapped to 0.
fn maps_root(it: &Case) -> bool {
    let mut maps = it.trace().written("/uid_map").filter(|call| call.done());
    maps.any(|call| call.arg(1).trim().starts_with("0 "))
}

/// Whether the maps come after the start of the second half.
fn is_mapped_late(it: &Case) -> bool {
    let started = it.trace().second_halves().iter().find(|call| call.done()).map(|call| call.at);
    let mapped = it.trace().written("/uid_map").find(|call| call.done()).map(|call| call.at);
    mapped.zip(started).is_some_and(|(mapped, started)| mapped > started)
}

fn has_user_namespace(it: &Case) -> bool {
    it.trace().namespace("CLONE_NEWUSER").is_some_and(Call::done)
}

fn is_forbidden(it: &Case) -> bool {
    it.call().is_some_and(|call| {
        matches!(call.error.as_deref(), Some("EPERM" | "EACCES"))
            && call.name != "write"
            && !call.name.starts_with("mknod")
            && !call.args.iter().any(|arg| arg.contains("/sys/fs/cgroup"))
            && !call.has("MS_REMOUNT")
    })
}

fn forbidden_inside(it: &Case) -> bool {
    is_forbidden(it) && has_user_namespace(it) && !it.failed("chdir", &["EACCES"])
}

/// Whether the user namespace was made before all others, or together with them.
fn is_first(it: &Case) -> bool {
    let user = it.trace().namespace("CLONE_NEWUSER").map(|call| call.at);
    let others = ["CLONE_NEWUTS", "CLONE_NEWPID", "CLONE_NEWIPC", "CLONE_NEWNET", "CLONE_NEWNS"];
    let mut others =
        others.iter().filter_map(|flag| it.trace().namespace(flag)).map(|call| call.at);
    user.is_some_and(|user| others.all(|other| user <= other))
}

fn is_root_on_host(it: &Case) -> bool {
    !it.done.learner
}

fn overflows(it: &Case) -> bool {
    it.call().is_some_and(|call| call.error.as_deref() == Some("EOVERFLOW"))
}

/// What was written to uid_map.
pub fn map(it: &Case) -> String {
    let map = it.trace().written("/uid_map").next();
    map.map_or(String::new(), |call| format!("`{}`", call.arg(1).trim().trim_end_matches("\\n")))
}
