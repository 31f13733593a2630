//! Pictures without labels: all below a folder, to be looked at and prepared, never to be learned from.

use std::path::Path;
use std::sync::Arc;

use super::dataset::{Dataset, Part};
use super::error::DataError;
use super::files::Files;
use super::framing::Framing;
use super::walk;

/// What stands in the place of a class's name. There is one, so that nobody takes its label for a truth (T26).
pub const CLASS: &str = "unlabelled";

/// Reads all pictures below `folder`, in the order of their paths, as one whole.
///
/// Errors: `Layout` if there are none; `Io`, `Picture`, `Framing`.
pub(super) fn load(folder: &Path, name: &str, framing: Framing) -> Result<Dataset, DataError> {
    let names = walk::pictures(folder)?.names;
    if names.is_empty() {
        return Err(DataError::Layout {
            path: folder.to_owned(),
            found: "no picture".to_owned(),
            expected: ".png, .jpg or .jpeg files in it or below".to_owned(),
        });
    }
    let mut files = Files::default();
    files.add_folder(folder.to_owned());
    names.iter().for_each(|name| files.add(name));
    let labels = vec![0; names.len()];
    let classes = vec![CLASS.to_owned()];
    Dataset::of_pictures(name, Part::Whole, classes, labels, Arc::new(files), framing)
}
