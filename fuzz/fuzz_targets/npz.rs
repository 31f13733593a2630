//! Any bytes as a numpy archive: images with labels, or a typed error.
#![no_main]

use std::fs;

use adamant::data::{Part, npz};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = fuzz::folder().join("fuzzed.npz");
    fs::write(&path, bytes).expect("a folder that can be written");
    for part in [Part::Train, Part::Test] {
        if let Ok(set) = npz::load(&path, "fuzzed", part) {
            set.batch(&[0, set.len() as u64 - 1]).expect("images that were loaded");
        }
    }
});
