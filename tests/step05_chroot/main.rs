//! The tests of step05_chroot.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/scenes.rs"]
mod scenes;

const STEP: &str = "step05_chroot";
