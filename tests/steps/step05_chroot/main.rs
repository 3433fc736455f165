//! The tests of step05_chroot.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/scenes.rs"]
mod scenes;
#[path = "../common/since01.rs"]
mod since01;
#[path = "../common/since04.rs"]
mod since04;
#[path = "../common/since05.rs"]
mod since05;

const STEP: &str = "step05_chroot";
