//! The tests of step03_reexec.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/scenes.rs"]
mod scenes;

const STEP: &str = "step03_reexec";
