//! Any bytes as a file of decoded pictures: every picture of its table can be read.
#![no_main]

use std::fs;

use adamant::data::{Framing, Part, cache};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

const TRAILER: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    // With a right checksum, which no mutation finds: what is behind it is to be fuzzed.
    if let Some(end) = bytes.len().checked_sub(TRAILER) {
        let start = u64::from_le_bytes(bytes[end + 16..end + 24].try_into().expect("eight bytes"));
        if let Some(table) = usize::try_from(start).ok().and_then(|start| bytes.get(start..end)) {
            let digest = Sha256::digest(table);
            bytes[end + 24..end + 56].copy_from_slice(&digest);
        }
    }
    let path = fuzz::folder().join("fuzzed.pixels");
    fs::write(&path, bytes).expect("a folder that can be written");
    let framing = Framing::usual(8);
    let Ok(set) = cache::load(&path, "fuzzed", Part::Whole, framing) else { return };
    let indices: Vec<u64> = (0..set.len() as u64).take(16).collect();
    set.batch(&indices).expect("pictures that opening has checked");
});
