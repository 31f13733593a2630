//! Any bytes as a tar shard: every sample of its index can be read, and lies inside it.
#![no_main]

use std::fs;

use adamant::data::shards::Shards;
use adamant::data::{Part, Pictures};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = fuzz::folder();
    let path = folder.join("fuzzed.tar");
    fs::write(&path, bytes).expect("a folder that can be written");
    drop(fs::remove_file(folder.join(".fuzzed.tar.adamant-index")));
    let Ok(first) = Shards::open(&path, Part::Train) else { return };
    // The second time from the index that the first left.
    let second = Shards::open(&path, Part::Train).expect("opened a moment ago");
    assert_eq!((first.labels, first.origins.len()), (second.labels, second.origins.len()));
    let mut picture = Vec::new();
    for index in 0..first.shards.len() {
        first.shards.read(index, &mut picture).expect("an indexed sample lies in its shard");
        let again = picture.clone();
        second.shards.read(index, &mut picture).expect("as the first");
        assert_eq!(again, picture);
        first.shards.name(index);
    }
});
