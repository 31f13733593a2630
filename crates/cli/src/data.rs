//! `adamant data list | info DATA | prepare DATA | fetch NAME`: which data sets there are, what is in them, in which form
//! they lie, and how they get here.

mod counting;
mod info;
mod prepare;

use crate::failure::OrWrongUsage;
use crate::output::print;
use crate::settings::Settings;
use adamant::data::fetch::{Origin, Outcome, Progress, fetch};
use adamant::data::published::{PUBLISHED, PublishedSet};
use adamant::data::{SearchPath, Source};
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
    /// Decodes all of DATA and says what is in it: counts, sizes, levels, balance of classes, corrupt files.
    Info {
        /// A name (fashion-sample, fashion-mnist, mnist, cifar10, cifar100), idx:DIR, bin:PATH, pickle:PATH, npz:FILE, folder:PATH,
        /// shards:PATH, parquet:PATH, cache:PATH or unlabelled:PATH.
        data: String,
        /// Also write a contact sheet: some images of each class, as PNG.
        #[arg(long, value_name = "FILE")]
        sheet: Option<PathBuf>,
    },
    /// Writes DATA as tar shards or as a cache of decoded pictures.
    Prepare(prepare::PrepareArguments),
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
        DataCommand::Info { data, sheet } => {
            info::run(data, sheet.as_deref(), &search, settings)?;
        }
        DataCommand::Prepare(arguments) => prepare::run(arguments, &search, settings)?,
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
        "{text}\nyour own: folder:PATH (class folders of PNG or JPEG), shards:PATH (tar shards, WebDataset), \
         parquet:PATH (Hugging Face), cache:PATH (from `adamant data prepare`), unlabelled:PATH (pictures without labels), bin:PATH (CIFAR binary), \
         pickle:PATH (CIFAR for Python), npz:FILE (numpy), idx:DIR (IDX files)\n"
    ))
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
