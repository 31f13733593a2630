//! `data prepare` as a library: the images stay what they are, the bytes are the same each time, a preparation that was
//! stopped goes on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use adamant::data::prepare::{Form, PrepareSettings, Prepared, prepare, verify};
use adamant::data::{DataError, Dataset, Framing, OnCorrupt, Part, SearchPath, Source};

const SHARDS: PrepareSettings = PrepareSettings {
    form: Form::Shards,
    shorter_side: None,
    images_per_file: 2,
    on_corrupt: OnCorrupt::Fail,
};
const CACHE: PrepareSettings = PrepareSettings { form: Form::Cache, ..SHARDS };

/// Class folders of pictures of several sizes and kinds, in two parts.
fn pictures() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/pictures");
    for (to, name) in [
        ("train/cat/a", "grey.jpg"),
        ("train/cat/b", "colour444.png"),
        ("train/cat/c", "progressive.jpg"),
        ("train/dog/a", "palette.png"),
        ("train/dog/b", "colour420.jpg"),
        ("val/dog/a", "grey.png"),
    ] {
        let to = folder.path().join(format!("{to}.{}", &name[name.len() - 3..]));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from.join(name), to).unwrap();
    }
    folder
}

fn load(source: &str, path: &Path, part: Part) -> Dataset {
    let source = Source::parse(&format!("{source}:{}", path.display())).unwrap();
    source.load_framed(part, &SearchPath { folders: vec![] }, Framing::usual(24)).unwrap()
}

fn run(folder: &Path, out: &Path, settings: &PrepareSettings) -> Result<Prepared, DataError> {
    let parts = [Part::Train, Part::Test].map(|part| load("folder", folder, part));
    let mut last = 0;
    let result = prepare(&parts, out, settings, &mut |progress| {
        assert!(progress.images >= last && progress.images <= progress.total);
        last = progress.images;
    });
    assert!(result.is_err() || last == 6);
    result
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| (path.file_name().unwrap().into(), fs::read(&path).unwrap());
    entries.filter(|path| !path.to_string_lossy().ends_with("index")).map(read).collect()
}

#[test]
fn prepared_images_are_those_of_the_source() {
    let (folder, out) = (pictures(), tempfile::tempdir().unwrap());
    for (name, settings) in [("shards", SHARDS), ("cache", CACHE)] {
        let out = out.path().join(name);
        let prepared = run(folder.path(), &out, &settings).unwrap();
        assert_eq!((prepared.files, prepared.images, prepared.kept), (4, 6, 0));
        assert_eq!(verify(&out).unwrap(), 5);
        for part in [Part::Train, Part::Test] {
            let (from, to) = (load("folder", folder.path(), part), load(name, &out, part));
            assert_eq!((to.part(), to.labels()), (part, from.labels()));
            assert_eq!(to.class_names(), ["cat", "dog"]);
            let indices: Vec<u64> = (0..from.len() as u64).collect();
            assert_eq!(to.batch(&indices).unwrap(), from.batch(&indices).unwrap(), "{name}");
        }
    }
}

#[test]
fn a_shorter_side_is_pillows_resize_and_small_pictures_stay() {
    let (folder, out) = (pictures(), tempfile::tempdir().unwrap());
    let sizes = |name: &str, settings| {
        let out = out.path().join(name);
        run(folder.path(), &out, &settings).unwrap();
        let set = load(name, &out, Part::Train);
        set.batch(&[0, 1, 2, 3, 4]).unwrap()
    };
    let settings = PrepareSettings { shorter_side: Some(16), ..SHARDS };
    let shards = sizes("shards", settings);
    // PNG and planes hold the same pixels.
    let cache = sizes("cache", PrepareSettings { form: Form::Cache, ..settings });
    assert_eq!(shards, cache);
    let bytes: u64 = contents(&out.path().join("cache"))
        .iter()
        .filter(|(name, _)| name.to_string_lossy().ends_with("pixels"))
        .map(|(_, bytes)| bytes.len() as u64)
        .sum();
    // 37 x 29 becomes 20 x 16 (37 * 16 / 29 = 20.4); the palette of 2 x 2 stays.
    let pixels = 2 * (20 * 16) + 3 * 3 * (20 * 16) + 3 * 4;
    assert_eq!(bytes, pixels + 6 * 24 + 4 * 80);
}

#[test]
fn the_same_images_give_the_same_bytes_on_any_number_of_threads() {
    let (folder, out) = (pictures(), tempfile::tempdir().unwrap());
    for settings in [SHARDS, CACHE, PrepareSettings { shorter_side: Some(20), ..SHARDS }] {
        let made = [1, 3].map(|threads| {
            let out =
                out.path().join(format!("{threads}{:?}{:?}", settings.form, settings.shorter_side));
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(folder.path(), &out, &settings)).unwrap();
            contents(&out)
        });
        assert_eq!(made[0], made[1]);
    }
}

#[test]
fn g17_a_preparation_stopped_anywhere_goes_on_to_the_same_bytes() {
    let folder = pictures();
    for settings in [SHARDS, CACHE] {
        let whole = tempfile::tempdir().unwrap();
        run(folder.path(), whole.path(), &settings).unwrap();
        let whole = contents(whole.path());
        let journal = &whole[Path::new("prepared.jsonl")];
        for length in (0..journal.len()).step_by(43) {
            let out = tempfile::tempdir().unwrap();
            // What a killed run leaves: finished files, a journal torn anywhere, half a file under another name.
            for (name, bytes) in &whole {
                fs::write(out.path().join(name), bytes).unwrap();
            }
            fs::write(out.path().join("prepared.jsonl"), &journal[..length]).unwrap();
            fs::remove_file(out.path().join("SHA256SUMS")).unwrap();
            fs::write(out.path().join(".test-00000.tar.part"), "half").unwrap();
            let prepared = run(folder.path(), out.path(), &settings).unwrap();
            let lines = journal[..length].iter().filter(|&&byte| byte == b'\n').count();
            assert_eq!(prepared.kept, lines.saturating_sub(1));
            let mut found = contents(out.path());
            if settings.form == Form::Cache {
                found.remove(Path::new(".test-00000.tar.part"));
            }
            found.remove(Path::new(".test-00000.tar.part"));
            assert_eq!(found, whole, "{length}");
        }
    }
}

#[test]
fn another_preparation_in_the_folder_is_refused() {
    let (folder, out) = (pictures(), tempfile::tempdir().unwrap());
    run(folder.path(), out.path(), &SHARDS).unwrap();
    let again = run(folder.path(), out.path(), &SHARDS).unwrap();
    assert_eq!((again.kept, again.files), (4, 4));
    for settings in [CACHE, PrepareSettings { images_per_file: 3, ..SHARDS }] {
        let error = run(folder.path(), out.path(), &settings).unwrap_err().to_string();
        assert!(
            error.contains("prepared.jsonl") && error.contains("hint: give another"),
            "{error}"
        );
    }
    let lock = fs::File::create(out.path().join(".prepare.lock")).unwrap();
    lock.lock().unwrap();
    let error = run(folder.path(), out.path(), &SHARDS).unwrap_err().to_string();
    assert!(error.contains("a lock of another process"), "{error}");
}

#[test]
fn g31_a_byte_that_changed_is_found_by_its_checksum() {
    let (folder, out) = (pictures(), tempfile::tempdir().unwrap());
    run(folder.path(), out.path(), &CACHE).unwrap();
    let file = out.path().join("train-00001.pixels");
    let mut bytes = fs::read(&file).unwrap();
    bytes[100] ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = verify(out.path()).unwrap_err();
    assert!(matches!(error, DataError::WrongChecksum { .. }), "{error}");
    assert!(error.to_string().contains("train-00001.pixels"), "{error}");
    let error = verify(folder.path()).unwrap_err().to_string();
    assert!(error.contains("SHA256SUMS") && error.contains("hint:"), "{error}");
}

#[test]
fn g31_a_corrupt_picture_ends_a_preparation_or_is_left_out_by_name() {
    let (folder, out) = (pictures(), tempfile::tempdir().unwrap());
    let broken = folder.path().join("train/cat/b.png");
    let bytes = fs::read(&broken).unwrap();
    fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    let error = run(folder.path(), &out.path().join("fail"), &SHARDS).unwrap_err().to_string();
    assert!(error.contains("cat/b.png"), "{error}");
    let skip = PrepareSettings { on_corrupt: OnCorrupt::Skip, ..SHARDS };
    let prepared = run(folder.path(), &out.path().join("skip"), &skip).unwrap();
    assert_eq!((prepared.images, prepared.skipped.len()), (5, 1));
    assert!(prepared.skipped[0].contains("cat/b.png"), "{:?}", prepared.skipped);
    let set = load("shards", &out.path().join("skip"), Part::Train);
    assert_eq!(set.labels(), [0, 0, 1, 1]);
}
