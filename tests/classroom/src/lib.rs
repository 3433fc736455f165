//! The classroom host.
