//! Times the loader alone: photographs from class folders, decoded, cropped at random and mirrored into batches.
//!
//! `cargo run --release -p adamant --example loader -- FOLDER [--workers N] [--batch N] [--passes N] [--what train|decode|validation|start]`
//! prints one JSON object; `benches/loader/compare.py` puts torchvision's loader beside it.

use std::env;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use adamant::data::{
    Augment, Dataset, Flip, Framing, LastBatch, Loader, LoaderSettings, OnCorrupt, Order, Part,
    PrefetchSettings, RandomCrop, folder,
};

struct Arguments {
    folder: String,
    workers: usize,
    batch: usize,
    passes: u32,
    what: String,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut given = env::args().skip(1);
    let folder = given.next().ok_or("a folder of class folders")?;
    let mut arguments =
        Arguments { folder, workers: 1, batch: 50, passes: 1, what: "train".to_owned() };
    while let Some(name) = given.next() {
        let value = given.next().ok_or_else(|| format!("{name} without a value"))?;
        match name.as_str() {
            "--workers" => arguments.workers = value.parse()?,
            "--batch" => arguments.batch = value.parse()?,
            "--passes" => arguments.passes = value.parse()?,
            "--what" => arguments.what = value,
            other => return Err(format!("{other} is none of the options").into()),
        }
    }
    Ok(arguments)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments()?;
    let folder = Path::new(&arguments.folder);
    let begin = Instant::now();
    let dataset = folder::load(folder, "photographs", Part::Train, Framing::usual(224))?;
    let listed = begin.elapsed().as_secs_f64();
    if arguments.what == "start" {
        return start(dataset, &arguments, begin);
    }
    let (seconds, images) = match arguments.what.as_str() {
        "decode" => decode(folder, &dataset, &arguments)?,
        "train" => load(dataset, &arguments, Some(RandomCrop::default()))?,
        "validation" => load(dataset, &arguments, None)?,
        other => return Err(format!("--what {other}, expected train, decode or validation").into()),
    };
    println!(
        "{{\"what\": {:?}, \"workers\": {}, \"batch\": {}, \"images\": {images}, \"seconds\": {seconds:.6}, \
         \"images_per_second\": {:.3}, \"seconds_to_list\": {listed:.6}}}",
        arguments.what,
        arguments.workers,
        arguments.batch,
        images as f64 / seconds,
    );
    Ok(())
}

/// Batches as a training run gets them.
fn load(
    dataset: Dataset,
    arguments: &Arguments,
    crop: Option<RandomCrop>,
) -> Result<(f64, usize), Box<dyn Error>> {
    let flip = if crop.is_some() { Flip::Horizontal } else { Flip::Never };
    let settings = LoaderSettings {
        batch_size: arguments.batch,
        seed: 0,
        order: Order::Shuffled,
        last: LastBatch::Keep,
        augment: Augment { crop, flip, ..Augment::default() },
        on_corrupt: OnCorrupt::Fail,
        prefetch: PrefetchSettings { workers: arguments.workers, ..PrefetchSettings::default() },
    };
    let loader = Loader::new(Arc::new(dataset), settings)?;
    let begin = Instant::now();
    let mut images = 0;
    for item in loader.prefetch(loader.position(0), arguments.passes) {
        images += item?.batch.images.count;
    }
    Ok((begin.elapsed().as_secs_f64(), images))
}

/// How long a program takes to its first batch and what it holds after ten.
fn start(dataset: Dataset, arguments: &Arguments, begin: Instant) -> Result<(), Box<dyn Error>> {
    let listed = begin.elapsed().as_secs_f64();
    let (files, classes, held) = (dataset.len(), dataset.classes(), resident());
    let settings = LoaderSettings {
        batch_size: arguments.batch,
        seed: 0,
        order: Order::Shuffled,
        last: LastBatch::Drop,
        augment: Augment { crop: Some(RandomCrop::default()), ..Augment::default() },
        on_corrupt: OnCorrupt::Fail,
        prefetch: PrefetchSettings { workers: arguments.workers, ..PrefetchSettings::default() },
    };
    let loader = Loader::new(Arc::new(dataset), settings)?;
    let mut batches = loader.prefetch(loader.position(0), 1);
    batches.next().ok_or("a batch")??;
    let first = begin.elapsed().as_secs_f64();
    for item in batches.by_ref().take(9) {
        item?;
    }
    println!(
        "{{\"what\": \"start\", \"files\": {files}, \"classes\": {classes}, \"workers\": {}, \"batch\": {}, \
         \"seconds_to_list\": {listed:.3}, \"seconds_to_first_batch\": {first:.3}, \
         \"resident_after_listing\": {held}, \"resident_after_ten_batches\": {}, \"resident_peak\": {}}}",
        arguments.workers,
        arguments.batch,
        resident(),
        status("VmHWM:"),
    );
    Ok(())
}

fn resident() -> u64 {
    status("VmRSS:")
}

/// Bytes that Linux counts for this process under a name; 0 elsewhere.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Files to bytes, nothing else.
fn decode(
    folder: &Path,
    dataset: &Dataset,
    arguments: &Arguments,
) -> Result<(f64, usize), Box<dyn Error>> {
    use adamant::data::picture::{self, Colours, Picture};
    let mut picture = Picture::default();
    let mut files = Vec::new();
    for class in dataset.class_names() {
        for entry in std::fs::read_dir(folder.join("train").join(class))? {
            files.push(entry?.path());
        }
    }
    let begin = Instant::now();
    for _ in 0..arguments.passes {
        for file in &files {
            picture::decode(&std::fs::read(file)?, file, Colours::Rgb, &mut picture)?;
        }
    }
    Ok((begin.elapsed().as_secs_f64(), files.len() * arguments.passes as usize))
}
