//! `adamant data prepare DATA --out DIR`: tar shards or a cache of decoded pictures, resumable and verified.

use super::counting::Counting;
use super::info::parts;
use crate::failure::OrWrongUsage;
use crate::output::{print, thousands};
use crate::settings::Settings;
use adamant::data::prepare::{Form, PrepareSettings, Prepared, prepare, verify};
use adamant::data::{Dataset, Framing, OnCorrupt, SearchPath, Source};
use serde::Serialize;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

/// What is written where.
#[derive(clap::Args, Debug)]
pub struct PrepareArguments {
    /// What to read: as for `data info`.
    data: String,
    /// The folder to write into; a preparation that was stopped there goes on.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Tar shards in WebDataset's layout, the default: pictures are copied as they are.
    #[arg(long, conflicts_with = "cache")]
    shards: bool,
    /// Decoded pictures, mapped into memory when they are read: no decoding any more, many more bytes.
    #[arg(long)]
    cache: bool,
    /// Bring the shorter side to N pixels where it is longer; shards are then PNG.
    #[arg(long, value_name = "N")]
    size: Option<NonZeroU32>,
    /// Images in a file.
    #[arg(long, value_name = "N", default_value = "5000")]
    per_file: NonZeroUsize,
    /// Leave out pictures that do not decode, and name them, rather than stop at the first.
    #[arg(long)]
    skip_corrupt: bool,
    /// Read everything back at the end and compare checksums.
    #[arg(long)]
    verify: bool,
}

#[derive(Serialize)]
struct Told<'a> {
    data: String,
    /// What to write after `--data`.
    prepared: String,
    #[serde(flatten)]
    figures: &'a Prepared,
    /// Files whose checksums were compared; null where that was not asked for.
    verified: Option<usize>,
}

/// Runs the command.
pub fn run(
    arguments: &PrepareArguments,
    search: &SearchPath,
    settings: &Settings,
) -> anyhow::Result<()> {
    let source = Source::parse(&arguments.data).or_wrong_usage()?;
    // Any framing keeps pictures of a folder as the files they are; a small folder would else be decoded at once.
    let sets = parts(&source, Framing::usual(64), search)?;
    let form = if arguments.cache { Form::Cache } else { Form::Shards };
    let wanted = PrepareSettings {
        form,
        shorter_side: arguments.size.map(NonZeroU32::get),
        images_per_file: arguments.per_file.get(),
        on_corrupt: if arguments.skip_corrupt { OnCorrupt::Skip } else { OnCorrupt::Fail },
    };
    let total = sets.iter().map(Dataset::len).sum();
    let mut counting = Counting::new("preparing", total, settings);
    let prepared =
        prepare(&sets, &arguments.out, &wanted, &mut |progress| counting.at(progress.images))?;
    counting.finish();
    let verified = if arguments.verify { Some(verify(&arguments.out)?) } else { None };
    let name = if arguments.cache { "cache" } else { "shards" };
    let told = Told {
        data: source.to_string(),
        prepared: format!("{name}:{}", arguments.out.display()),
        figures: &prepared,
        verified,
    };
    if settings.json {
        return print(&serde_json::to_string_pretty(&told)?);
    }
    let mut text = format!(
        "{}: {} images in {} files, {} bytes",
        told.prepared,
        thousands(prepared.images as u64),
        thousands(prepared.files as u64),
        thousands(prepared.bytes)
    );
    if prepared.kept > 0 {
        text += &format!("; {} files were there already", thousands(prepared.kept as u64));
    }
    if let Some(files) = verified {
        text += &format!("; checksums of {} files are right", thousands(files as u64));
    }
    text.push('\n');
    for skipped in &prepared.skipped {
        text += &format!("left out: {skipped}\n");
    }
    print(&text)
}
