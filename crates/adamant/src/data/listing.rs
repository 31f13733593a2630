//! What lies in a class folder, remembered on disk: a million names are then read from one file instead of a thousand
//! folders.
//!
//! The list of a root lies beside it as `.NAME.adamant-index`, or in the user's cache folder. A class counts as unchanged
//! while each of its folders has the time of change it had when listed; adding, removing or renaming a file changes that. A
//! folder changed within two seconds of being listed is listed again, because file systems round times.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::error::DataError;
use super::sample::hex;
use super::shards::stored::{keep, places};
use super::walk::{self, Found, changed};

const MAGIC: &str = "adamant listing 1";

/// Names below which listing is so quick that a file on disk would only be in the way.
const WORTH_KEEPING: usize = 20_000;

/// Nanoseconds within which a file system may not tell two changes apart.
const ROUNDING: i128 = 2_000_000_000;

/// The pictures of each class of `root`, from the list on disk for classes that have not changed since.
///
/// Errors: as [`walk::pictures`], of the first class that has one.
pub(super) fn pictures(root: &Path, classes: &[String]) -> Result<Vec<Vec<String>>, DataError> {
    pictures_worth(root, classes, WORTH_KEEPING)
}

fn pictures_worth(
    root: &Path,
    classes: &[String],
    worth: usize,
) -> Result<Vec<Vec<String>>, DataError> {
    let places = places(root);
    let known = places.iter().find_map(|place| read(place));
    let mut known = known.unwrap_or_default();
    let taken: Vec<Option<Found>> = classes.iter().map(|class| known.remove(class)).collect();
    let found: Vec<Result<(Found, bool), DataError>> = taken
        .into_par_iter()
        .zip(classes)
        .map(|(known, class)| match known.filter(|known| is_current(&root.join(class), known)) {
            Some(known) => Ok((known, true)),
            None => walk::pictures(&root.join(class)).map(|found| (found, false)),
        })
        .collect();
    let found = found.into_iter().collect::<Result<Vec<_>, DataError>>()?;
    let count: usize = found.iter().map(|(found, _)| found.names.len()).sum();
    if count >= worth && found.iter().any(|(_, is_known)| !is_known) {
        let bytes = write(classes, &found);
        // A list that cannot be kept costs time, not data.
        let _ = places.iter().find(|place| keep(place, &bytes).is_ok());
    }
    Ok(found.into_iter().map(|(found, _)| found.names).collect())
}

fn is_current(class: &Path, known: &Found) -> bool {
    !known.folders.is_empty()
        && known.folders.iter().all(|(folder, listed)| {
            let path = if folder.is_empty() { class.to_owned() } else { class.join(folder) };
            listed.is_some() && changed(&path) == *listed
        })
}

/// Writes down what was found and when each folder had last changed, if that is long enough ago.
fn write(classes: &[String], found: &[(Found, bool)]) -> Vec<u8> {
    let mut text = format!("{MAGIC}\n");
    for (class, (found, _)) in classes.iter().zip(found) {
        let lines = || found.names.iter().chain(found.folders.iter().map(|(folder, _)| folder));
        if class.contains('\n') || lines().any(|line| line.contains('\n')) {
            continue; // such a class is listed each time
        }
        text += &format!("class {class}\n");
        for (folder, listed) in &found.folders {
            text += &format!("folder {} {folder}\n", listed.unwrap_or(-1));
        }
        for name in &found.names {
            text += &format!("file {name}\n");
        }
    }
    let digest = hex(&Sha256::digest(&text));
    text += &format!("sha256 {digest}\n");
    text.into_bytes()
}

/// What a list says of each class, if it is whole.
fn read(place: &Path) -> Option<HashMap<String, Found>> {
    let text = fs::read_to_string(place).ok()?;
    let written = changed(place)?;
    let end = text.trim_end().rfind('\n')? + 1;
    let (body, digest) = (&text[..end], text[end..].trim_end().strip_prefix("sha256 ")?);
    if hex(&Sha256::digest(body)) != digest {
        return None;
    }
    let mut lines = body.lines();
    if lines.next() != Some(MAGIC) {
        return None;
    }
    let mut classes = HashMap::new();
    let mut class = String::new();
    for line in lines {
        let (kind, value) = line.split_once(' ')?;
        match kind {
            "class" => {
                class = value.to_owned();
                classes.insert(class.clone(), Found::default());
            }
            "folder" => {
                let (listed, folder) = value.split_once(' ')?;
                let listed: i128 = listed.parse().ok()?;
                // A change in the moment of listing may not show in the time.
                let listed =
                    Some(listed).filter(|&listed| listed >= 0 && listed + ROUNDING < written);
                classes.get_mut(&class)?.folders.push((folder.to_owned(), listed));
            }
            "file" => classes.get_mut(&class)?.names.push(value.to_owned()),
            _ => return None,
        }
    }
    Some(classes)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn make(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
    }

    fn age(folder: &Path) {
        let past = SystemTime::now() - Duration::from_secs(60);
        fs::File::open(folder).unwrap().set_modified(past).unwrap();
    }

    #[test]
    fn an_unchanged_class_comes_from_the_list_and_a_changed_one_from_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("train");
        let classes = ["cat".to_owned(), "dog".to_owned()];
        make(&root, &["cat/a.png", "cat/deep/b.png", "dog/c.png"]);
        for class in ["cat", "cat/deep", "dog"] {
            age(&root.join(class));
        }
        let list = || pictures_worth(&root, &classes, 1).unwrap();
        let cats = vec!["a.png".to_owned(), "deep/b.png".to_owned()];
        assert_eq!(list(), [cats.clone(), vec!["c.png".to_owned()]]);
        let place = folder.path().join(".train.adamant-index");
        let text = fs::read_to_string(&place).unwrap();
        // What the list says is believed while the folder's time is the same: a name that only it has comes back.
        let forged = text.replace("file c.png\n", "file known.png\n");
        let body = &forged[..forged.rfind("sha256").unwrap()];
        let digest = hex(&Sha256::digest(body));
        fs::write(&place, format!("{body}sha256 {digest}\n")).unwrap();
        assert_eq!(list(), [cats.clone(), vec!["known.png".to_owned()]]);
        make(&root, &["dog/d.png"]);
        assert_eq!(list(), [cats.clone(), vec!["c.png".to_owned(), "d.png".to_owned()]]);
        make(&root, &["cat/deep/e.png"]);
        assert_eq!(list()[0], ["a.png", "deep/b.png", "deep/e.png"]);
        fs::write(&place, &text[..text.len() / 2]).unwrap();
        assert_eq!(list()[0].len(), 3, "half a list is no list");
    }

    #[test]
    fn small_sets_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        make(&folder.path().join("train"), &["cat/a.png"]);
        pictures(&folder.path().join("train"), &["cat".to_owned()]).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
