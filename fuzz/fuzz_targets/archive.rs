//! Any bytes as a tar archive of pickles, gzipped or not, and as one pickled batch of CIFAR.
#![no_main]

use std::fs;

use adamant::data::{Part, cifar_pickle};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for name in ["fuzzed.tar.gz", "fuzzed"] {
        let path = fuzz::folder().join(name);
        fs::write(&path, bytes).expect("a folder that can be written");
        for part in [Part::Train, Part::Test] {
            if let Ok(set) = cifar_pickle::load(&path, "fuzzed", part) {
                set.batch(&[0]).expect("an image that was loaded");
            }
        }
    }
});
