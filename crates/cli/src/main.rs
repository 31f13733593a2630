//! The `adamant` binary; the only crate that prints.

#![forbid(unsafe_code)]

fn main() {}
