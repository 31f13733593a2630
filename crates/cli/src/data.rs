//! `adamant data list | info DATA | fetch NAME`: which data sets there are, what is in them, and how they get here.

use crate::failure::OrWrongUsage;
use crate::output::{print, table, thousands};
use crate::settings::Settings;
use adamant::data::fetch::{Origin, Outcome, Progress, fetch};
use adamant::data::published::{PUBLISHED, PublishedSet};
use adamant::data::{Dataset, Part, SearchPath, Source};
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Data sets: which there are, what is in them, and how they get here.
#[derive(clap::Args, Debug)]
pub struct DataArguments {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(clap::Subcommand, Debug)]
enum DataCommand {
    /// The sets with a name, and where they are on this machine.
    List,
    /// Loads DATA and says what is in it.
    Info {
        /// A name (fashion-sample, fashion-mnist, mnist, cifar10, cifar100), idx:DIR, bin:PATH, pickle:PATH or folder:PATH.
        data: String,
    },
    /// Brings a published set here and checks its SHA-256.
    Fetch {
        /// fashion-mnist, mnist, cifar10 or cifar100.
        name: String,
        /// Where the files are instead of at their authors': a folder, or an address they lie under.
        #[arg(long, value_name = "URL|DIR")]
        from: Option<String>,
    },
}

/// Runs the command.
pub fn run(arguments: &DataArguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    let search = SearchPath::from_environment();
    match &arguments.command {
        DataCommand::List => list(&search, settings)?,
        DataCommand::Info { data } => info(data, &search, settings)?,
        DataCommand::Fetch { name, from } => {
            let set = PublishedSet::named(name).or_wrong_usage()?;
            let origin = from.as_deref().map_or(Origin::Published, Origin::parse);
            // The first folder of the search path is the user's own; the others belong to the system.
            let own = search.folders.first().context("the search path for data is empty")?;
            bring(set, &origin, &own.join(set.name), settings)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Listed {
    name: &'static str,
    about: &'static str,
    licence: &'static str,
    embedded: bool,
    folder: Option<PathBuf>,
}

fn list(search: &SearchPath, settings: &Settings) -> anyhow::Result<()> {
    let mut sets = vec![Listed {
        name: "fashion-sample",
        about: "the first 10,000 + 1,000 of fashion-mnist",
        licence: "MIT, Zalando SE",
        embedded: true,
        folder: None,
    }];
    for set in PUBLISHED {
        let folder = Source::parse(set.name)?.locate(search).unwrap_or(None);
        let PublishedSet { name, about, licence, .. } = set;
        sets.push(Listed { name, about, licence, embedded: false, folder });
    }
    if settings.json {
        return print(&serde_json::to_string_pretty(&sets)?);
    }
    let mut text = String::new();
    for set in sets {
        let place = match set.folder {
            _ if set.embedded => "in this program".to_owned(),
            Some(folder) => folder.display().to_string(),
            None => format!("not here: adamant data fetch {}", set.name),
        };
        text += &format!("{}\n  {}\n  licence: {}\n  {place}\n", set.name, set.about, set.licence);
    }
    print(&format!(
        "{text}\nyour own: idx:DIR (IDX files), bin:PATH (CIFAR binary), pickle:PATH (CIFAR for Python), folder:PATH (class folders of PNG or JPEG)\n"
    ))
}

#[derive(Serialize)]
struct Described {
    data: String,
    classes: Vec<String>,
    shape: [usize; 3],
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
    fingerprint: String,
}

fn info(data: &str, search: &SearchPath, settings: &Settings) -> anyhow::Result<()> {
    let source = Source::parse(data).or_wrong_usage()?;
    let first = source.load(Part::Train, search)?;
    let second = match first.part() {
        Part::Whole => None,
        Part::Train | Part::Test => Some(source.load(Part::Test, search)?),
    };
    let shape = first.shape();
    let described = Described {
        data: source.to_string(),
        classes: first.class_names().to_vec(),
        shape: [shape.channels, shape.height, shape.width],
        parts: [Some(first), second].iter().flatten().map(describe).collect::<Result<_, _>>()?,
    };
    if settings.json {
        return print(&serde_json::to_string_pretty(&described)?);
    }
    let [channels, height, width] = described.shape;
    let mut header = vec![String::new()];
    let mut images = vec!["images".to_owned()];
    let mut means = vec!["mean".to_owned()];
    let mut deviations = vec!["standard deviation".to_owned()];
    let list = |values: &[f64]| {
        values.iter().map(|value| format!("{value:.4}")).collect::<Vec<_>>().join(" ")
    };
    for part in &described.parts {
        header.push(part.part.to_owned());
        images.push(thousands(part.images as u64));
        means.push(list(&part.mean));
        deviations.push(list(&part.standard_deviation));
    }
    let mut rows = vec![header, images, means, deviations];
    for (label, name) in described.classes.iter().enumerate() {
        let mut row = vec![format!("{label} {name}")];
        row.extend(described.parts.iter().map(|part| thousands(part.per_class[label] as u64)));
        rows.push(row);
    }
    let mut text = format!(
        "{}: {channels} x {height} x {width}, {} classes\n{}",
        described.data,
        described.classes.len(),
        table(&rows)
    );
    for part in &described.parts {
        text += &format!("SHA-256 of the images, {}: {}\n", part.part, part.fingerprint);
    }
    print(&text)
}

fn describe(set: &Dataset) -> anyhow::Result<DescribedPart> {
    let mut per_class = vec![0; set.classes()];
    for &label in set.labels() {
        per_class[label as usize] += 1;
    }
    // Sums of bytes are whole numbers, so they are exact.
    let plane = set.shape().height * set.shape().width;
    let (mut sums, mut squares) =
        (vec![0_u64; set.shape().channels], vec![0_u64; set.shape().channels]);
    let mut bytes = vec![0; set.shape().len()];
    for index in 0..set.len() as u64 {
        set.read(index, &mut bytes)?;
        for (channel, pixels) in bytes.chunks_exact(plane).enumerate() {
            sums[channel] += pixels.iter().map(|&byte| u64::from(byte)).sum::<u64>();
            squares[channel] += pixels.iter().map(|&byte| u64::from(byte).pow(2)).sum::<u64>();
        }
    }
    let count = (plane * set.len()) as f64;
    let mean: Vec<f64> = sums.iter().map(|&sum| sum as f64 / count / 255.0).collect();
    let standard_deviation = squares
        .iter()
        .zip(&mean)
        .map(|(&square, mean)| {
            (square as f64 / count / 255.0 / 255.0 - mean * mean).max(0.0).sqrt()
        })
        .collect();
    let part = match set.part() {
        Part::Train => "train",
        Part::Test => "test",
        Part::Whole => "whole",
    };
    let fingerprint = set.fingerprint()?;
    Ok(DescribedPart { part, images: set.len(), per_class, mean, standard_deviation, fingerprint })
}

#[derive(Serialize)]
struct Brought<'a> {
    name: &'a str,
    folder: &'a Path,
    fetched: Vec<&'a str>,
    present: Vec<&'a str>,
}

fn bring(
    set: &PublishedSet,
    origin: &Origin,
    folder: &Path,
    settings: &Settings,
) -> anyhow::Result<()> {
    let bar = if settings.shows_progress() {
        ProgressBar::new(0).with_style(ProgressStyle::with_template(
            "{msg}  {bar:30}  {bytes} of {total_bytes}  {bytes_per_sec}",
        )?)
    } else {
        ProgressBar::hidden()
    };
    let mut show = |progress: Progress<'_>| {
        bar.set_length(progress.total);
        bar.set_message(progress.file.to_owned());
        bar.set_position(progress.bytes);
    };
    let outcomes = fetch(set, origin, folder, &mut open, &mut show);
    bar.finish_and_clear();
    let outcomes = outcomes?;
    let with = |wanted: Outcome| {
        outcomes.iter().filter(|(_, outcome)| *outcome == wanted).map(|&(name, _)| name).collect()
    };
    let brought = Brought {
        name: set.name,
        folder,
        fetched: with(Outcome::Fetched),
        present: with(Outcome::Present),
    };
    if settings.json {
        return print(&serde_json::to_string_pretty(&brought)?);
    }
    print(&format!(
        "{}: {} fetched, {} already here, checksums right: {}\n",
        set.name,
        brought.fetched.len(),
        brought.present.len(),
        folder.display()
    ))
}

/// The bytes at an address; the answer must begin within a minute, but may take as long as it likes.
fn open(address: &str) -> Result<Box<dyn Read>, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .build()
        .into();
    let response = agent.get(address).call().map_err(|error| error.to_string())?;
    Ok(Box::new(response.into_body().into_reader()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use adamant::data::published::{Contents, Form, PublishedFile};
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    /// Answers `requests` requests with `body` for `/mirror/hello.txt` and 404 for all else; gives its address.
    fn serve(requests: usize, body: &'static str, announced: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/mirror", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for _ in 0..requests {
                let (mut stream, _) = listener.accept().unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let request = lines.next().unwrap().unwrap();
                while !lines.next().unwrap().unwrap().is_empty() {}
                let (status, length, body) = if request.starts_with("GET /mirror/hello.txt ") {
                    ("200 OK", announced, body)
                } else {
                    ("404 Not Found", 0, "")
                };
                write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                )
                .unwrap();
            }
        });
        address
    }

    const SET: PublishedSet = PublishedSet {
        name: "hello",
        about: "one word",
        licence: "none",
        addresses: &[],
        files: &[PublishedFile {
            name: "hello.txt",
            forms: &[Form {
                bytes: 5,
                sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
            }],
            contents: Contents::File,
        }],
    };

    fn fetch_over_http(address: &str) -> (tempfile::TempDir, anyhow::Result<()>) {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin::parse(address);
        let result = fetch(&SET, &origin, folder.path(), &mut open, &mut |_| {});
        (folder, result.map(|_| ()).map_err(Into::into))
    }

    fn is_empty(folder: &Path) -> bool {
        std::fs::read_dir(folder).unwrap().next().is_none()
    }

    #[test]
    fn a_file_comes_over_http_and_its_checksum_is_checked() {
        let (folder, result) = fetch_over_http(&serve(1, "hello", 5));
        result.unwrap();
        assert_eq!(std::fs::read(folder.path().join("hello.txt")).unwrap(), b"hello");

        let (folder, result) = fetch_over_http(&serve(1, "jello", 5));
        let message = result.unwrap_err().to_string();
        assert!(message.contains("2cf24dba") && message.contains("SHA-256 is"), "{message}");
        assert!(is_empty(folder.path()));
    }

    #[test]
    fn a_connection_that_breaks_off_and_a_missing_file_are_told() {
        let (folder, result) = fetch_over_http(&serve(1, "hel", 5));
        let message = result.unwrap_err().to_string();
        assert!(message.contains("hello.txt: cannot be fetched"), "{message}");
        assert!(is_empty(folder.path()));

        let (folder, result) = fetch_over_http(&format!("{}/elsewhere", serve(1, "hello", 5)));
        let message = result.unwrap_err().to_string();
        assert!(message.contains("404"), "{message}");
        assert!(is_empty(folder.path()));
    }
}
