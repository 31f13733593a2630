//! Any bytes as a PNG or JPEG: pixels of the size they claim, or a typed error.
#![no_main]

use std::path::Path;

use adamant::data::picture::{self, Colours, Picture};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for colours in [Colours::AsStored, Colours::Rgb] {
        let mut picture = Picture::default();
        if picture::decode(bytes, Path::new("fuzzed"), colours, &mut picture).is_ok() {
            assert_eq!(picture.pixels.len(), picture.shape().len());
        }
    }
});
