//! The tests of step09_user.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/scenes.rs"]
mod scenes;

const STEP: &str = "step09_user";
