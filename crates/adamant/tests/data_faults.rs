//! Faults that data has on people's disks, each through the border that a user names it by: a typed error that says where,
//! never a panic, and nothing else is lost.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use adamant::data::inspect::inspect;
use adamant::data::{DataError, Dataset, Framing, Part, SearchPath, Source};
use rayon::prelude::*;

fn load(source: &str, path: &Path) -> Result<Dataset, DataError> {
    let source = Source::parse(&format!("{source}:{}", path.display())).unwrap();
    source.load_framed(Part::Train, &SearchPath { folders: vec![] }, Framing::usual(16))
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

fn picture(name: &str) -> Vec<u8> {
    fs::read(fixture("pictures").join(name)).unwrap()
}

/// A shard written by hand: header by header, so that headers can lie.
struct Shard(Vec<u8>);

impl Shard {
    fn add(mut self, name: &str, said: usize, contents: &[u8]) -> Self {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..136].copy_from_slice(format!("{said:011o}\0").as_bytes());
        header[156] = b'0';
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(contents);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn sample(self, key: &str, picture: &[u8], label: &str) -> Self {
        self.add(&format!("{key}.jpg"), picture.len(), picture).add(
            &format!("{key}.cls"),
            label.len(),
            label.as_bytes(),
        )
    }

    fn write(mut self, folder: &Path) -> PathBuf {
        self.0.resize(self.0.len() + 1024, 0);
        let path = folder.join("faulty.tar");
        fs::write(&path, self.0).unwrap();
        path
    }
}

fn shard() -> Shard {
    Shard(Vec::new()).sample("first", &picture("grey.jpg"), "0").sample("second", b"", "1")
}

#[test]
fn a_truncated_shard_names_shard_member_and_offset() {
    let folder = tempfile::tempdir().unwrap();
    let path = shard().write(folder.path());
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..1000]).unwrap();
    let error = load("shards", &path).unwrap_err();
    assert!(matches!(error, DataError::Tar { .. }));
    let message = error.to_string();
    for word in ["faulty.tar: ", "\"first.jpg\" at offset 0", "488 bytes are left", "expected 928"]
    {
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn a_shard_cut_short_after_it_was_indexed_names_the_sample() {
    let folder = tempfile::tempdir().unwrap();
    let path = shard().write(folder.path());
    let set = load("shards", &path).unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..1000]).unwrap();
    let error = set.batch(&[0]).unwrap_err().to_string();
    assert!(error.contains("sample \"first.jpg\" at offset 512: the end of the shard"), "{error}");
    assert!(error.contains("928 bytes, as when it was indexed"), "{error}");
}

#[test]
fn a_lying_tar_header_reserves_no_memory_and_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = shard().add("third.jpg", 1 << 30, b"short").write(folder.path());
    let error = load("shards", &path).unwrap_err().to_string();
    assert!(error.contains("\"third.jpg\"") && error.contains("expected 1073741824"), "{error}");
}

#[test]
fn wrong_label_text_names_shard_offset_and_key() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["tench", "1.0", "-3", "99999999999", ""] {
        let path = shard().sample("third", b"x", text).write(folder.path());
        let error = load("shards", &path).unwrap_err();
        assert!(matches!(&error, DataError::Shard { key, .. } if key == "third"), "{error}");
        assert!(error.to_string().contains(&format!("the label {text:?}")), "{error}");
    }
    fs::write(folder.path().join("classes.txt"), "cat\ndog\n").unwrap();
    let path = shard().sample("third", b"x", "2").write(folder.path());
    let error = load("shards", &path).unwrap_err().to_string();
    assert!(error.contains("label of sample 2 is \"2\"") && error.contains("2 lines"), "{error}");
}

#[test]
fn names_in_a_shard_that_lead_out_are_refused_and_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["../outside", "/tmp/outside", "a/../../outside"] {
        let path = shard().sample(name, b"x", "0").write(folder.path());
        let error = load("shards", &path).unwrap_err().to_string();
        assert!(error.contains("leads out") && error.contains(name), "{error}");
    }
    assert!(!folder.path().parent().unwrap().join("outside.jpg").exists());
}

#[test]
fn a_picture_whose_header_claims_billions_of_pixels_reserves_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    // Start of image, then a frame header of 65,500 x 65,500 pixels and nothing that fills them.
    let mut bomb = vec![0xff, 0xd8, 0xff, 0xc0, 0, 17, 8];
    bomb.extend([0xff, 0xdc, 0xff, 0xdc, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 0xff, 0xd9]);
    let path = shard().sample("bomb", &bomb, "0").write(folder.path());
    let set = load("shards", &path).unwrap();
    let error = set.batch(&[2]).unwrap_err();
    assert!(matches!(error, DataError::Picture { .. }), "{error}");
    assert!(error.to_string().contains("faulty.tar/bomb.jpg"), "{error}");
}

#[test]
fn a_zero_byte_picture_is_an_error_of_its_own_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let set = load("shards", &shard().write(folder.path())).unwrap();
    set.batch(&[0]).unwrap();
    let error = set.batch(&[1]).unwrap_err().to_string();
    assert!(error.contains("faulty.tar/second.jpg"), "{error}");
    let found = inspect(&set, &mut |_| {});
    assert_eq!((found.corrupt.len(), found.corrupt[0].index), (1, 1));
}

/// Where the system keeps files in memory, a million of them are made in seconds.
fn quick_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

#[test]
fn a_million_empty_files_are_counted_and_named() {
    const CLASSES: usize = 100;
    const FILES: usize = 10_000;
    let folder = quick_folder();
    (0..CLASSES).into_par_iter().for_each(|class| {
        let class = folder.path().join(format!("{class:02}"));
        fs::create_dir(&class).unwrap();
        // One empty file under many names: as empty, and sooner made.
        let first = class.join("0000.jpg");
        fs::File::create(&first).unwrap();
        (1..FILES).for_each(|file| {
            fs::hard_link(&first, class.join(format!("{file:04}.jpg"))).unwrap();
        });
    });
    let set = load("folder", folder.path()).unwrap();
    let found = inspect(&set, &mut |_| {});
    let all = CLASSES * FILES;
    assert_eq!((set.len(), found.corrupt.len(), found.sizes), (all, all, None));
    assert!(found.corrupt[all - 1].reason.contains("99/9999.jpg"), "{:?}", found.corrupt[all - 1]);
    (0..CLASSES).into_par_iter().for_each(|class| {
        fs::remove_dir_all(folder.path().join(format!("{class:02}"))).unwrap();
    });
}

#[test]
fn a_circle_of_symbolic_links_is_an_error_that_names_the_link() {
    let folder = tempfile::tempdir().unwrap();
    for class in ["cat", "dog"] {
        fs::create_dir(folder.path().join(class)).unwrap();
        fs::write(folder.path().join(class).join("a.jpg"), picture("grey.jpg")).unwrap();
    }
    symlink("..", folder.path().join("dog/again")).unwrap();
    for source in ["folder", "unlabelled"] {
        let source = Source::parse(&format!("{source}:{}", folder.path().display())).unwrap();
        let search = SearchPath { folders: vec![] };
        let error = source.load_to_look_at(Part::Train, &search, Framing::usual(16)).unwrap_err();
        assert!(matches!(error, DataError::Layout { .. }), "{error}");
        assert!(error.to_string().contains("dog/again"), "{error}");
    }
}

#[test]
fn a_pickle_with_code_in_it_runs_nothing() {
    for name in ["runs-code.pickle", "imports.pickle"] {
        let error = load("pickle", &fixture("pickles").join(name)).unwrap_err();
        assert!(matches!(error, DataError::Pickle { .. }), "{error}");
        assert!(error.to_string().contains("names the code"), "{error}");
    }
    // What `runs-code.pickle` asks for is `touch executed`.
    assert!(!Path::new("executed").exists());
}

#[test]
fn sets_without_labels_are_looked_at_and_never_learned_from() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("below")).unwrap();
    for name in ["b.jpg", "a.jpg", "below/c.jpg"] {
        fs::write(folder.path().join(name), picture("grey.jpg")).unwrap();
    }
    let error = load("unlabelled", folder.path()).unwrap_err();
    assert!(matches!(error, DataError::Unlabelled { .. }), "{error}");
    assert!(error.to_string().contains("hint: it can be looked at"), "{error}");
    let source = Source::parse(&format!("unlabelled:{}", folder.path().display())).unwrap();
    let search = SearchPath { folders: vec![] };
    let set = source.load_to_look_at(Part::Train, &search, Framing::AsStored).unwrap();
    assert_eq!((set.len(), set.class_names()), (3, &["unlabelled".to_owned()][..]));
}
