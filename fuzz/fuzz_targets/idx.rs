//! Any bytes as the two files of an IDX folder, plain or gzipped, and as a CIFAR binary file.
#![no_main]

use std::fs;

use adamant::data::{Part, cifar, idx};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = fuzz::folder();
    let (images, labels) = match bytes.split_first() {
        Some((&cut, rest)) => rest.split_at(rest.len() * usize::from(cut) / 255),
        None => (bytes, bytes),
    };
    for (name, bytes) in idx::file_names(Part::Test).iter().zip([images, labels]) {
        fs::write(folder.join(name), bytes).expect("a folder that can be written");
    }
    if let Ok(set) = idx::load(&folder, "fuzzed", Part::Test, &[]) {
        let last = set.len() as u64 - 1;
        set.batch(&[0, last]).expect("images that were loaded");
    }
    let path = folder.join("fuzzed.bin");
    fs::write(&path, bytes).expect("a folder that can be written");
    if let Ok(set) = cifar::load_any(&path, "fuzzed", Part::Test) {
        assert_eq!(set.len() * (bytes.len() / set.len()), bytes.len());
    }
});
