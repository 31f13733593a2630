//! How long it takes to open a source and to read a first batch from all over it, and what stays in memory, as JSON.
//!
//! `cargo run --release -p adamant --example open_data -- shards:PATH [IMAGES]`
//!
//! Run it twice: the first time shards are indexed, from then on the index is read.

use std::error::Error;
use std::fs;
use std::time::Instant;

use adamant::data::{Framing, Part, SearchPath, Source};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let data = arguments.next().ok_or("DATA is missing, such as shards:PATH")?;
    let images: u64 = arguments.next().map_or(Ok(128), |count| count.parse())?;
    let source = Source::parse(&data)?;
    let search = SearchPath::from_environment();
    let before = resident()?;
    let began = Instant::now();
    let set = source.load_framed(Part::Train, &search, Framing::usual(224))?;
    let opened = began.elapsed().as_secs_f64();
    let after = resident()?;
    // One image out of each stretch of the set, as a shuffled epoch begins.
    let stretch = (set.len() as u64 / images).max(1);
    let indices: Vec<u64> = (0..images.min(set.len() as u64))
        .map(|image| image * stretch + image * 7919 % stretch)
        .collect();
    let began = Instant::now();
    set.batch(&indices)?;
    let batch = began.elapsed().as_secs_f64();
    println!(
        "{{\"data\": {data:?}, \"images\": {}, \"classes\": {}, \"open_seconds\": {opened:.3}, \
         \"first_batch_images\": {}, \"first_batch_seconds\": {batch:.3}, \"resident_bytes_before\": {before}, \
         \"resident_bytes_open\": {after}, \"bytes_per_image\": {:.1}}}",
        set.len(),
        set.classes(),
        indices.len(),
        after.saturating_sub(before) as f64 / set.len() as f64
    );
    Ok(())
}

/// Resident memory of this process, in bytes, as Linux counts it.
fn resident() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kilobytes.ok_or("no VmRSS in /proc/self/status")?.parse::<u64>()? * 1024)
}
