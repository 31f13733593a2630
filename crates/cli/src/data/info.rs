//! `adamant data info DATA`: every image is decoded; counts, sizes, levels, balance of classes, corrupt files, contact sheet.

use super::counting::Counting;
use crate::failure::OrWrongUsage;
use crate::output::{percent, print, table, thousands};
use crate::settings::Settings;
use adamant::data::inspect::{Corrupt, Sizes, contact_sheet, inspect};
use adamant::data::{DataError, Dataset, Framing, Part, SearchPath, Source};
use anyhow::Context;
use serde::Serialize;
use std::path::Path;

/// Pixels of the sides of an image on a contact sheet.
const SHEET_SIDE: u32 = 64;

/// More classes than this are summed up rather than listed.
const LISTED: usize = 40;

/// Corrupt files shown as text; `--json` has them all.
const SHOWN: usize = 20;

#[derive(Serialize)]
struct Described {
    data: String,
    classes: Vec<String>,
    /// Channels, rows and columns; null where images differ.
    shape: Option<[usize; 3]>,
    parts: Vec<DescribedPart>,
}

#[derive(Serialize)]
struct DescribedPart {
    part: &'static str,
    images: usize,
    per_class: Vec<usize>,
    /// Per channel, pixels in [0, 1].
    mean: Vec<f64>,
    standard_deviation: Vec<f64>,
    /// SHA-256 of the images; null where they differ in shape or some are corrupt.
    fingerprint: Option<String>,
    grey: usize,
    stored_bytes: u64,
    sizes: Option<DescribedSizes>,
    corrupt: Vec<DescribedCorrupt>,
}

/// Rows and columns.
#[derive(Serialize)]
struct DescribedSizes {
    smallest: [usize; 2],
    median: [usize; 2],
    largest: [usize; 2],
    distinct: usize,
}

#[derive(Serialize)]
struct DescribedCorrupt {
    index: usize,
    reason: String,
}

/// Runs the command; a set with corrupt images is an error after all of them have been told.
pub fn run(
    data: &str,
    sheet: Option<&Path>,
    search: &SearchPath,
    settings: &Settings,
) -> anyhow::Result<()> {
    let source = Source::parse(data).or_wrong_usage()?;
    let sets = parts(&source, Framing::usual(SHEET_SIDE), search)?;
    let mut described = Described {
        data: source.to_string(),
        classes: sets[0].class_names().to_vec(),
        shape: None,
        parts: Vec::new(),
    };
    let mut shapes = Vec::new();
    for set in &sets {
        let (part, shape) = describe(&source, set, search, settings)?;
        described.parts.push(part);
        shapes.push(shape);
    }
    described.shape = shapes[0].filter(|first| shapes.iter().all(|shape| shape == &Some(*first)));
    if let Some(path) = sheet {
        let file = contact_sheet(&sets[0]);
        std::fs::write(path, file).with_context(|| format!("writing {}", path.display()))?;
        settings.remark(format_args!("contact sheet: {}", path.display()));
    }
    if settings.json {
        print(&serde_json::to_string_pretty(&described)?)?;
    } else {
        print(&text(&described))?;
    }
    let corrupt: Vec<&DescribedCorrupt> =
        described.parts.iter().flat_map(|part| &part.corrupt).collect();
    match corrupt.first() {
        Some(first) => anyhow::bail!(
            "{data}: images that do not decode: {}; the first: {}",
            thousands(corrupt.len() as u64),
            first.reason
        ),
        None => Ok(()),
    }
}

/// The training and the test part, or the whole of a source that makes no such distinction, or the one that is there.
pub fn parts(
    source: &Source,
    framing: Framing,
    search: &SearchPath,
) -> Result<Vec<Dataset>, DataError> {
    let load = |part| source.load_to_look_at(part, search, framing);
    let first = match load(Part::Train) {
        Err(DataError::NoPart { .. }) => return Ok(vec![load(Part::Test)?]),
        first => first?,
    };
    if first.part() == Part::Whole {
        return Ok(vec![first]);
    }
    match load(Part::Test) {
        Err(DataError::NoPart { .. }) => Ok(vec![first]),
        second => Ok(vec![first, second?]),
    }
}

fn describe(
    source: &Source,
    set: &Dataset,
    search: &SearchPath,
    settings: &Settings,
) -> anyhow::Result<(DescribedPart, Option<[usize; 3]>)> {
    let mut counting = Counting::new("decoding", set.len(), settings);
    let found = inspect(set, &mut |done| counting.at(done));
    counting.finish();
    let channels = if found.grey == 0 { 3 } else { 1 };
    let one_kind = found.grey == 0 || found.grey == set.len();
    let shape = found
        .sizes
        .filter(|sizes| sizes.distinct == 1 && one_kind && found.corrupt.is_empty())
        .map(|sizes| [channels, sizes.median[0], sizes.median[1]]);
    // Of images as they lie there, not as they are framed for the sheet.
    let fingerprint = match shape {
        Some(_) => {
            let stored = source.load_to_look_at(set.part(), search, Framing::AsStored)?;
            Some(stored.fingerprint()?)
        }
        None => None,
    };
    let part = match set.part() {
        Part::Train => "train",
        Part::Test => "test",
        Part::Whole => "whole",
    };
    let sizes = found.sizes.map(|Sizes { smallest, median, largest, distinct }| DescribedSizes {
        smallest,
        median,
        largest,
        distinct,
    });
    let corrupt = found.corrupt.into_iter();
    let corrupt = corrupt.map(|Corrupt { index, reason }| DescribedCorrupt { index, reason });
    let described = DescribedPart {
        part,
        images: set.len(),
        per_class: found.per_class,
        mean: found.mean,
        standard_deviation: found.standard_deviation,
        fingerprint,
        grey: found.grey,
        stored_bytes: found.bytes,
        sizes,
        corrupt: corrupt.collect(),
    };
    Ok((described, shape))
}

fn text(described: &Described) -> String {
    let levels = |values: &[f64]| {
        values.iter().map(|value| format!("{value:.4}")).collect::<Vec<_>>().join(" ")
    };
    let size = |[rows, columns]: [usize; 2]| format!("{rows}x{columns}");
    let shape = match described.shape {
        Some([channels, height, width]) => format!("{channels} x {height} x {width}"),
        None => "images of several shapes".to_owned(),
    };
    let mut rows: Vec<Vec<String>> =
        ["", "images", "corrupt", "grey", "bytes", "rows x columns", "mean", "standard deviation"]
            .map(|name| vec![name.to_owned()])
            .into();
    for part in &described.parts {
        let sizes = part.sizes.as_ref().map_or_else(String::new, |sizes| match sizes.distinct {
            1 => size(sizes.median),
            n => format!(
                "{} to {}, median {}, {n} sizes",
                size(sizes.smallest),
                size(sizes.largest),
                size(sizes.median)
            ),
        });
        let cells = [
            part.part.to_owned(),
            thousands(part.images as u64),
            thousands(part.corrupt.len() as u64),
            thousands(part.grey as u64),
            thousands(part.stored_bytes),
            sizes,
            levels(&part.mean),
            levels(&part.standard_deviation),
        ];
        rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
    }
    let classes = thousands(described.classes.len() as u64);
    let mut text = format!("{}: {shape}, {classes} classes\n{}", described.data, table(&rows));
    for part in &described.parts {
        text += &format!("\nclasses, {}\n{}", part.part, balance(&described.classes, part));
    }
    for part in &described.parts {
        for corrupt in part.corrupt.iter().take(SHOWN) {
            text += &format!("corrupt, {} {}: {}\n", part.part, corrupt.index, corrupt.reason);
        }
        if part.corrupt.len() > SHOWN {
            text += &format!("... and {} more: --json has all\n", part.corrupt.len() - SHOWN);
        }
        if let Some(fingerprint) = &part.fingerprint {
            text += &format!("SHA-256 of the images, {}: {fingerprint}\n", part.part);
        }
    }
    text
}

/// A bar for each class; of many classes, what is rarest and what is commonest.
fn balance(classes: &[String], part: &DescribedPart) -> String {
    const WIDTH: usize = 30;
    let mut order: Vec<usize> = (0..classes.len()).collect();
    let count = |label: usize| part.per_class[label];
    let mut head = String::new();
    if classes.len() > LISTED {
        order.sort_by_key(|&label| (count(label), label));
        let (fewest, middle) = (count(order[0]), count(order[order.len() / 2]));
        let most = count(order[order.len() - 1]);
        head = format!(
            "{} to {} images, median {}; the five rarest and the five commonest:\n",
            thousands(fewest as u64),
            thousands(most as u64),
            thousands(middle as u64)
        );
        let commonest = order.split_off(order.len() - 5);
        order.truncate(5);
        order.extend(commonest);
    }
    let most = part.per_class.iter().copied().max().unwrap_or(0).max(1);
    let total = part.per_class.iter().sum::<usize>().max(1);
    let rows: Vec<Vec<String>> = order
        .iter()
        .map(|&label| {
            let bar = (count(label) * WIDTH).div_ceil(most);
            vec![
                format!("{label} {}", classes[label]),
                thousands(count(label) as u64),
                percent(count(label) as f64 / total as f64),
                format!("{}{}", "#".repeat(bar), " ".repeat(WIDTH - bar)),
            ]
        })
        .collect();
    head + &table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(per_class: Vec<usize>) -> DescribedPart {
        DescribedPart {
            part: "train",
            images: per_class.iter().sum(),
            per_class,
            mean: vec![0.5],
            standard_deviation: vec![0.1],
            fingerprint: None,
            grey: 0,
            stored_bytes: 0,
            sizes: None,
            corrupt: vec![],
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_class_is_common() {
        let names = ["cat", "dog", "yak"].map(str::to_owned);
        let text = balance(&names, &part(vec![60, 30, 0]));
        let bars: Vec<usize> = text.lines().map(|line| line.matches('#').count()).collect();
        assert_eq!(bars, [30, 15, 0]);
        assert!(text.contains("1 dog  30  33.3 %"), "{text}");
    }

    #[test]
    fn of_many_classes_the_rarest_and_the_commonest_are_shown() {
        let names: Vec<String> = (0..1000).map(|class| format!("n{class}")).collect();
        let text = balance(&names, &part((0..1000).map(|class| 1300 - class % 7).collect()));
        assert_eq!(text.lines().count(), 11);
        assert!(text.starts_with("1,294 to 1,300 images, median 1,297"), "{text}");
    }
}
