//! Any bytes as a parquet table: rows or typed errors, also where the decoder underneath panics.
#![no_main]

use std::fs;
use std::panic;
use std::sync::Once;

use adamant::data::parquet::Tables;
use adamant::data::{Part, Pictures};
use libfuzzer_sys::fuzz_target;

static QUIET: Once = Once::new();

fuzz_target!(|bytes: &[u8]| {
    // libFuzzer aborts in the hook of any panic; those of the parquet crate are caught behind it and become errors. One
    // that is not caught still ends the process.
    QUIET.call_once(|| panic::set_hook(Box::new(|_| {})));
    let path = fuzz::folder().join("fuzzed.parquet");
    fs::write(&path, bytes).expect("a folder that can be written");
    let Ok(open) = Tables::open(&path, Part::Train) else { return };
    let mut picture = Vec::new();
    for index in 0..open.tables.len().min(100) {
        drop(open.tables.read(index, &mut picture));
        open.tables.name(index);
    }
});
