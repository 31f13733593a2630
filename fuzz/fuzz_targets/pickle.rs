//! Any bytes as a pickle: an answer or a typed error, and nothing that runs.
#![no_main]

use adamant::data::pickle::Pickle;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(pickle) = Pickle::read(bytes) {
        let root = pickle.root();
        root.kind();
        for name in root.names() {
            let Some(item) = root.entry(&name) else { continue };
            item.kind();
            item.integers();
            item.texts();
            if let Some(array) = item.array() {
                let product: usize = array.shape().iter().product();
                assert!(array.unsigned_bytes().is_none_or(|bytes| bytes.len() == product));
            }
        }
    }
});
