//! Class folders of PNG and JPEG pictures: `PATH/train/cat/1.png`, `PATH/test/cat/2.png`, or `PATH/cat/1.png`.
//!
//! Classes are numbered in the order of their sorted names, images in the order of their sorted paths.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::dataset::{Dataset, Part, Pixels};
use super::error::DataError;
use super::files::Files;
use super::framing::Framing;
use super::{listing, walk};

/// Decoded bytes up to which pictures of one shape are all decoded when loading, so that a broken one is found before
/// training.
const IN_MEMORY: usize = 2 << 30;

/// Reads one part of a folder; without `train` inside, all of it as [`Part::Whole`].
///
/// The test part is `test`, else `val`. Without a framing all pictures have one shape, and sets of up to 2 GiB are decoded
/// at once; all others on demand. Folders are followed through symbolic links, as torchvision's `ImageFolder` does.
/// Errors: `Layout`, `Io`, `Picture`, `PictureShape`, `Framing`; each names the file or folder.
pub fn load(folder: &Path, name: &str, part: Part, framing: Framing) -> Result<Dataset, DataError> {
    load_within(folder, name, part, framing, IN_MEMORY)
}

fn load_within(
    folder: &Path,
    name: &str,
    part: Part,
    framing: Framing,
    limit: usize,
) -> Result<Dataset, DataError> {
    let train = folder.join("train");
    let (part, root, class_names) = if !train.is_dir() {
        (Part::Whole, folder.to_owned(), class_names(folder)?)
    } else if part == Part::Test {
        let test = ["test", "val"].map(|name| folder.join(name)).into_iter().find(|p| p.is_dir());
        let test = test.ok_or_else(|| DataError::Layout {
            path: folder.to_owned(),
            found: "train without test or val".to_owned(),
            expected: "a folder test or val beside train".to_owned(),
        })?;
        // Labels are those of the training part: a class missing from the test part must not shift the others.
        (Part::Test, test, class_names(&train)?)
    } else {
        (Part::Train, train.clone(), class_names(&train)?)
    };
    if let Some(unknown) =
        class_names_in(&root)?.iter().find(|class| class_names.binary_search(class).is_err())
    {
        return Err(DataError::Layout {
            path: root.join(unknown),
            found: "a class of its own".to_owned(),
            expected: format!("one of the classes of {}", train.display()),
        });
    }
    let (files, labels) = list(&root, &class_names)?;
    if labels.is_empty() {
        return Err(DataError::Layout {
            path: root,
            found: format!("{} class folders without a picture", class_names.len()),
            expected: ".png, .jpg or .jpeg files in them".to_owned(),
        });
    }
    let set = Dataset::of_pictures(name, part, class_names, labels, Arc::new(files), framing)?;
    let length = set.shape().len();
    if framing != Framing::AsStored || set.len().saturating_mul(length) > limit {
        return Ok(set);
    }
    let mut bytes = vec![0; set.len() * length];
    let results: Vec<Result<(), DataError>> = bytes
        .par_chunks_mut(length)
        .enumerate()
        .map_init(Default::default, |scratch, (index, into)| {
            set.read_with(index as u64, None, scratch, into)
        })
        .collect();
    // The first error in the order of the files, whichever thread met one first.
    results.into_iter().collect::<Result<(), DataError>>()?;
    let (shape, names) = (set.shape(), set.class_names().to_vec());
    Dataset::new(name, part, shape, names, set.labels().to_vec(), Pixels::Memory(bytes))
}

/// The pictures of all classes, in order, and their labels.
fn list(root: &Path, class_names: &[String]) -> Result<(Files, Vec<u32>), DataError> {
    let found = listing::pictures(root, class_names)?;
    let (mut files, mut labels) = (Files::default(), Vec::new());
    for (label, (class, names)) in class_names.iter().zip(found).enumerate() {
        files.add_folder(root.join(class));
        names.iter().for_each(|name| files.add(name));
        labels.resize(labels.len() + names.len(), label as u32);
    }
    Ok((files, labels))
}

fn class_names(root: &Path) -> Result<Vec<String>, DataError> {
    let names = class_names_in(root)?;
    if names.len() < 2 {
        return Err(DataError::Layout {
            path: root.to_owned(),
            found: format!("{} folders", names.len()),
            expected: "one folder for each of at least two classes".to_owned(),
        });
    }
    Ok(names)
}

fn class_names_in(root: &Path) -> Result<Vec<String>, DataError> {
    let entries = walk::entries(root)?;
    Ok(entries.into_iter().filter(|entry| entry.is_folder).map(|entry| entry.name).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use network::Shape;

    use super::*;

    fn write_png(path: &Path, width: u32, height: u32, bytes: &[u8]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), width, height);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.write_header().unwrap().write_image_data(bytes).unwrap();
    }

    fn stored(folder: &Path, part: Part) -> Result<Dataset, DataError> {
        load(folder, "f", part, Framing::AsStored)
    }

    fn two_parts() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, value) in [
            ("train/cat/b.png", 2),
            ("train/cat/a.png", 1),
            ("train/ant/images/z.png", 3),
            ("train/dog/z.png", 4),
            ("val/dog/y.png", 5),
        ] {
            write_png(&folder.path().join(path), 2, 1, &[value, value + 10]);
        }
        fs::write(folder.path().join("train/cat/notes.txt"), "no picture").unwrap();
        folder
    }

    #[test]
    fn classes_and_images_are_in_sorted_order_and_test_labels_are_the_training_ones() {
        let folder = two_parts();
        let train = stored(folder.path(), Part::Train).unwrap();
        assert_eq!(train.class_names(), ["ant", "cat", "dog"]);
        assert_eq!(train.labels(), [0, 1, 1, 2]);
        assert_eq!(train.shape(), Shape::new(1, 1, 2));
        let pixels = train.batch(&[0, 1, 2, 3]).unwrap().images.pixels;
        let levels: Vec<f32> = pixels.iter().map(|pixel| (pixel * 255.0).round()).collect();
        assert_eq!(levels, [3.0, 13.0, 1.0, 11.0, 2.0, 12.0, 4.0, 14.0]);
        let test = stored(folder.path(), Part::Test).unwrap();
        assert_eq!((test.part(), test.classes(), test.labels()), (Part::Test, 3, &[2][..]));
    }

    #[test]
    fn class_folders_without_parts_are_one_whole() {
        let folder = two_parts();
        let whole = stored(&folder.path().join("train"), Part::Test).unwrap();
        assert_eq!((whole.part(), whole.len()), (Part::Whole, 4));
    }

    #[test]
    fn pictures_decoded_on_demand_are_those_in_memory() {
        let folder = two_parts();
        let within = |limit| load_within(folder.path(), "f", Part::Train, Framing::AsStored, limit);
        let memory = within(8).unwrap();
        let demand = within(7).unwrap();
        assert_eq!(memory.batch(&[3, 0, 2]).unwrap(), demand.batch(&[3, 0, 2]).unwrap());
        let vanishing = folder.path().join("train/dog/z.png");
        fs::write(&vanishing, "no picture any more").unwrap();
        let error = demand.batch(&[3]).unwrap_err().to_string();
        assert!(error.contains("z.png"), "{error}");
    }

    #[test]
    fn g31_a_folder_with_a_broken_jpeg_names_the_file() {
        let folder = two_parts();
        fs::write(folder.path().join("train/dog/broken.jpg"), [0xff, 0xd8, 0xff, 0xe0, 0]).unwrap();
        let error = stored(folder.path(), Part::Train).unwrap_err();
        assert!(matches!(error, DataError::Picture { .. }));
        assert!(error.to_string().contains("dog/broken.jpg: broken JPEG"), "{error}");
    }

    #[test]
    fn a_picture_of_another_size_names_the_file_and_both_sizes() {
        let folder = two_parts();
        write_png(&folder.path().join("train/dog/wide.png"), 3, 1, &[0, 0, 0]);
        let error = stored(folder.path(), Part::Train).unwrap_err().to_string();
        assert!(error.contains("dog/wide.png"), "{error}");
        assert!(error.contains("1 rows x 3 columns"), "{error}");
        assert!(error.contains("1 rows x 2 columns"), "{error}");
        assert!(error.contains("z.png"), "{error}");
    }

    #[test]
    fn folders_that_are_no_class_folders_are_refused() {
        let folder = two_parts();
        write_png(&folder.path().join("val/yak/y.png"), 2, 1, &[0, 0]);
        let error = stored(folder.path(), Part::Test).unwrap_err().to_string();
        assert!(error.contains("val/yak: a class of its own"), "{error}");
        fs::remove_dir_all(folder.path().join("val")).unwrap();
        let error = stored(folder.path(), Part::Test).unwrap_err().to_string();
        assert!(error.contains("train without test or val"), "{error}");
        let error = stored(&folder.path().join("train/cat"), Part::Test).unwrap_err();
        assert!(matches!(error, DataError::Layout { .. }), "{error}");
        let error = stored(Path::new("/no/such/folder"), Part::Test).unwrap_err();
        assert!(matches!(error, DataError::Io { .. }), "{error}");
    }
}
