//! `cargo workshop look`: draws the containers that run right now, and what each of their processes shares with the
//! host.
//!
//! From the machine to the screen in four parts, of which only the first and the last touch anything:
//!
//! - [`machine`], [`details`], [`cgroup`] and [`inside`] read /proc and the cgroup file systems ([`proc`] knows what
//!   their files say);
//! - [`model`] decides who is shown, and who shares what with whom;
//! - [`changes`] compares with the pictures before;
//! - [`draw`] makes lines of text of it (on [`paper`]), and [`screen`] shows them.

pub mod cgroup;
pub mod changes;
pub mod details;
pub mod draw;
pub mod inside;
pub mod machine;
pub mod model;
pub mod paper;
pub mod proc;
pub mod screen;
