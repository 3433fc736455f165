//! The tests of step03_reexec.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/scenes.rs"]
mod scenes;
#[path = "../common/since01.rs"]
mod since01;

const STEP: &str = "step03_reexec";
