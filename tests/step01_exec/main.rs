//! The tests of step01_exec.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/scenes.rs"]
mod scenes;

const STEP: &str = "step01_exec";
