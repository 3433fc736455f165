//! What the learner's own cargo is told, and the workshop cannot do with.

use std::env;

/// What to say where cargo has another runner than `scripts/run-step.sh`. (Whichever is named for this kind of machine
/// alone goes before ours: <https://doc.rust-lang.org/cargo/reference/config.html#targettriplerunner>.)
pub fn of_ones_own() -> Option<&'static str> {
    // As cargo and run-step.sh set them.
    let by_cargo = env::var_os("CARGO").is_some();
    (by_cargo && env::var_os("WORKSHOP_RUNNER").is_none()).then_some(
        "Your cargo has a runner of its own (in ~/.cargo/config.toml, or in a variable CARGO_TARGET_…_RUNNER), which \
         goes before the workshop's: so cargo run neither fetches a root filesystem nor asks for sudo. Take it out for \
         today, or type ./rootfs-fetch.sh and sudo target/debug/stepNN_name yourself.",
    )
}
