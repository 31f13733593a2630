//! What lies in and below a folder, in sorted order, through symbolic links but never in a circle.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::DataError;
use super::picture;

/// Pictures of other kinds; passing over them in silence would lose images that other programs read.
const UNREAD: [&str; 7] = ["bmp", "gif", "webp", "tif", "tiff", "ppm", "pgm"];

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// Its name.
    pub name: String,
    /// Whether it is a folder, or a link to one.
    pub is_folder: bool,
    /// Whether it is a symbolic link.
    pub is_link: bool,
}

/// What is in a folder, sorted by name, without hidden entries.
///
/// Errors: `Io`; `Layout` for a name that is not UTF-8.
pub(super) fn entries(folder: &Path) -> Result<Vec<Entry>, DataError> {
    let failed = |source| DataError::Io { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().into_string().map_err(|name| DataError::Layout {
            path: folder.join(name),
            found: "a name that is not UTF-8".to_owned(),
            expected: "names in UTF-8".to_owned(),
        })?;
        if name.starts_with('.') {
            continue;
        }
        // The kind comes with the listing: asking for each of a million files takes longer than reading the folder.
        let kind = entry.file_type().map_err(failed)?;
        let is_link = kind.is_symlink();
        let is_folder = if is_link { entry.path().is_dir() } else { kind.is_dir() };
        found.push(Entry { name, is_folder, is_link });
    }
    found.sort_unstable();
    Ok(found)
}

/// What a walk below a folder has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The pictures, relative to the folder with `/`, depth first in sorted order.
    pub names: Vec<String>,
    /// The folders, itself (as an empty name) among them, and when each had last changed before it was listed, in
    /// nanoseconds.
    pub folders: Vec<(String, Option<i128>)>,
}

/// All pictures below `folder`; none if there is no such folder.
///
/// Other files are passed over. Errors: `Io`; `Layout` for a link to a folder that contains it; `Picture` for pictures of
/// a kind that is not read.
pub(super) fn pictures(folder: &Path) -> Result<Found, DataError> {
    let mut found = Found::default();
    if folder.is_dir() {
        let real = real(folder)?;
        Walk { found: &mut found, above: vec![real] }.descend(folder, "")?;
    }
    Ok(found)
}

struct Walk<'a> {
    found: &'a mut Found,
    /// Real paths of the folders that the walk is in.
    above: Vec<PathBuf>,
}

impl Walk<'_> {
    fn descend(&mut self, folder: &Path, prefix: &str) -> Result<(), DataError> {
        self.found.folders.push((prefix.trim_end_matches('/').to_owned(), changed(folder)));
        for Entry { name, is_folder, is_link } in entries(folder)? {
            let path = folder.join(&name);
            if is_folder {
                let real = match is_link {
                    true => real(&path)?,
                    false => self.above.last().expect("a walk begins somewhere").join(&name),
                };
                if self.above.iter().any(|above| above.starts_with(&real)) {
                    return Err(DataError::Layout {
                        path,
                        found: format!("a link to {}, which contains it", real.display()),
                        expected: "folders that end somewhere".to_owned(),
                    });
                }
                self.above.push(real);
                self.descend(&path, &format!("{prefix}{name}/"))?;
                self.above.pop();
            } else if picture::is_picture(Path::new(&name)) {
                self.found.names.push(format!("{prefix}{name}"));
            } else if is_unread(&name) {
                let reason = "a kind of picture that is not read, expected .png, .jpg or .jpeg\n  \
                              hint: convert it to PNG";
                return Err(DataError::Picture { path, reason: reason.to_owned() });
            }
        }
        Ok(())
    }
}

fn is_unread(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    UNREAD.iter().any(|kind| extension.eq_ignore_ascii_case(kind))
}

/// When the list of a folder last changed, in nanoseconds since 1970.
pub(super) fn changed(folder: &Path) -> Option<i128> {
    let data = fs::metadata(folder).ok()?;
    Some(i128::from(data.mtime()) * 1_000_000_000 + i128::from(data.mtime_nsec()))
}

fn real(folder: &Path) -> Result<PathBuf, DataError> {
    folder.canonicalize().map_err(|source| DataError::Io { path: folder.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn pictures_come_depth_first_in_sorted_order_and_nothing_else_comes() {
        let folder = folder(&["b.png", "a/2.JPEG", "a/10.jpg", "notes.txt", ".hidden.png", "c"]);
        assert_eq!(pictures(folder.path()).unwrap().names, ["a/10.jpg", "a/2.JPEG", "b.png"]);
        assert_eq!(pictures(&folder.path().join("none")).unwrap().names, [""; 0]);
    }

    #[test]
    fn links_to_elsewhere_are_followed() {
        let (folder, other) = (folder(&["a.png"]), folder(&["b.png"]));
        symlink(other.path(), folder.path().join("link")).unwrap();
        symlink(other.path().join("b.png"), folder.path().join("c.png")).unwrap();
        assert_eq!(pictures(folder.path()).unwrap().names, ["a.png", "c.png", "link/b.png"]);
    }

    #[test]
    fn a_link_into_a_circle_is_refused_by_its_name() {
        let own = folder(&["deep/a.png"]);
        symlink(own.path(), own.path().join("deep/up")).unwrap();
        let (left, right) = (folder(&["a.png"]), folder(&["b.png"]));
        symlink(right.path(), left.path().join("right")).unwrap();
        symlink(left.path(), right.path().join("left")).unwrap();
        for (folder, link) in [(&own, "deep/up"), (&left, "right/left")] {
            let error = pictures(folder.path()).unwrap_err().to_string();
            assert!(error.contains(link) && error.contains("contains it"), "{error}");
        }
    }

    #[test]
    fn a_picture_of_a_kind_that_is_not_read_is_not_passed_over() {
        let folder = folder(&["a.png", "b.WebP"]);
        let error = pictures(folder.path()).unwrap_err().to_string();
        assert!(error.contains("b.WebP") && error.contains("hint:"), "{error}");
    }
}
