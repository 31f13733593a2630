//! What can be wrong with data; every message names the file, what was found and what was expected.

use std::io;
use std::path::PathBuf;

use network::Shape;
use thiserror::Error;

use super::pickle::PickleError;
use super::tar::TarError;

/// What can be wrong with data.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The system refused to read or write.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A compressed file that does not decompress.
    #[error("{}: damaged gzip data: {source}", path.display())]
    Gzip {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: io::Error,
    },
    /// An IDX file of another kind, or no IDX file.
    #[error("{}: magic number is {found:#010x}, expected {expected:#010x} ({meaning})", path.display())]
    WrongMagic {
        /// The file.
        path: PathBuf,
        /// The first four bytes, big-endian.
        found: u32,
        /// What they should be.
        expected: u32,
        /// What the expected number stands for.
        meaning: &'static str,
    },
    /// A file shorter or longer than its own header or its format says.
    #[error("{}: {found} bytes, expected {expected} ({reason})", path.display())]
    WrongLength {
        /// The file.
        path: PathBuf,
        /// Bytes there are, after decompression.
        found: u64,
        /// Bytes there should be; for whole records, the nearest length that would do.
        expected: u64,
        /// Where the expectation comes from.
        reason: String,
    },
    /// Image file and label file do not belong together.
    #[error("{}: {labels} labels, expected {images} (the images in {})", label_file.display(), image_file.display())]
    CountMismatch {
        /// The file of images.
        image_file: PathBuf,
        /// Its images.
        images: usize,
        /// The file of labels.
        label_file: PathBuf,
        /// Its labels.
        labels: usize,
    },
    /// A label beyond the classes.
    #[error("{origin}: label of image {index} is {found}, expected 0 to {}", classes - 1)]
    LabelOutOfRange {
        /// The data set or file.
        origin: String,
        /// Position of the image.
        index: usize,
        /// Its label.
        found: u32,
        /// Number of classes.
        classes: usize,
    },
    /// Pixels and labels of a data set in memory disagree.
    #[error("{name}: {found} pixel bytes, expected {expected} ({labels} labels)")]
    WrongPixelCount {
        /// The data set.
        name: String,
        /// Bytes given.
        found: usize,
        /// Labels times the length of one image.
        expected: usize,
        /// Labels given.
        labels: usize,
    },
    /// No images at all.
    #[error("{name}: no images, expected at least one")]
    Empty {
        /// The data set or selection.
        name: String,
    },
    /// More images than random draws can be keyed by.
    #[error("{name}: {found} images, expected at most {}", u32::MAX)]
    TooMany {
        /// The data set.
        name: String,
        /// Its images.
        found: usize,
    },
    /// A batch that one epoch cannot fill, or of no image.
    #[error("batch size is {found}, expected 1 to {images} (the images of {name} in one epoch)")]
    BatchSize {
        /// The data set.
        name: String,
        /// The batch size asked for.
        found: usize,
        /// Images in an epoch.
        images: usize,
    },
    /// A crop that could miss the image.
    #[error("{name}: padding is {found}, expected less than the image's shorter side, {side}")]
    Padding {
        /// The data set.
        name: String,
        /// Pixels of padding asked for.
        found: u32,
        /// Pixels of the shorter side.
        side: usize,
    },
    /// A centre crop that cannot be.
    #[error(
        "crop is {crop} of a shorter side of {resize} pixels, expected 1 to {resize} of at most {most}"
    )]
    Framing {
        /// Pixels of the shorter side after resampling.
        resize: u32,
        /// Pixels of the crop.
        crop: u32,
        /// The longest shorter side.
        most: u32,
    },
    /// Numbers of a random crop or of colour changes that say nothing.
    #[error("{key} is {found}, expected {expected}")]
    Augment {
        /// Which setting.
        key: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A batch of which no image could be decoded.
    #[error(
        "step {step} of epoch {epoch}: none of {images} images can be read; the first: {first}"
    )]
    NothingLeft {
        /// The epoch.
        epoch: u32,
        /// The step in it.
        step: u32,
        /// Images of the batch.
        images: usize,
        /// What is wrong with the first.
        first: String,
    },
    /// An image that is not there.
    #[error("{name}: image {index} asked for, expected 0 to {}", images - 1)]
    NoSuchImage {
        /// The data set.
        name: String,
        /// The position asked for.
        index: u64,
        /// Number of images.
        images: usize,
    },
    /// A step beyond the end of its epoch.
    #[error("{name}: step {step} of an epoch asked for, expected 0 to {}", steps - 1)]
    NoSuchStep {
        /// The data set.
        name: String,
        /// The step asked for.
        step: u32,
        /// Steps in an epoch.
        steps: u32,
    },
    /// More images held out than can be.
    #[error("{found} images held out of {images}, expected 1 to {}", images.saturating_sub(1))]
    HeldOutCount {
        /// Images asked for.
        found: usize,
        /// Images there are.
        images: usize,
    },
    /// More images to learn from than there are.
    #[error(
        "{found} images to learn from, expected 1 to the {left} that are not held out\n  hint: data.images = 0 takes all of them"
    )]
    LearnedCount {
        /// Images asked for.
        found: usize,
        /// Images that are not held out.
        left: usize,
    },
    /// A picture that is broken or of a kind that is not read.
    #[error("{}: {reason}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Pictures of different shapes in one data set.
    #[error(
        "{}: shape is {}, expected {} (as {})\n  hint: resize all to one size and one kind (grey or RGB), or say what they become: data.size in a recipe",
        path.display(), describe(*found), describe(*expected), first.display()
    )]
    PictureShape {
        /// The file.
        path: PathBuf,
        /// Its shape.
        found: Shape,
        /// The shape of the first picture.
        expected: Shape,
        /// The first picture.
        first: PathBuf,
    },
    /// A folder that is not laid out as class folders.
    #[error("{}: {found}, expected {expected}", path.display())]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What is in it.
        found: String,
        /// What should be.
        expected: String,
    },
    /// A source in several files of which none are of that part.
    #[error("{}: {found}, expected some such as {expected}", path.display())]
    NoPart {
        /// The source.
        path: PathBuf,
        /// What there is.
        found: String,
        /// A name that such a file has.
        expected: String,
    },
    /// A set without labels where labels are needed.
    #[error(
        "{name}: a set without labels, expected one with\n  hint: it can be looked at and prepared: adamant data info, adamant data prepare"
    )]
    Unlabelled {
        /// The data set.
        name: String,
    },
    /// A name that no data set has.
    #[error("data is {found:?}, expected one of: {}", valid.join(", "))]
    UnknownSource {
        /// What was written.
        found: String,
        /// What may be written.
        valid: Vec<String>,
    },
    /// A data set that is known and not here.
    #[error("{name}: not found; looked for {}\n  hint: {hint}", looked.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "))]
    Absent {
        /// The data set.
        name: String,
        /// Every place looked at.
        looked: Vec<PathBuf>,
        /// How to get it.
        hint: String,
    },
    /// A name under which nothing is published.
    #[error("no published data set is called {found:?}, expected one of: {}", valid.join(", "))]
    NotPublished {
        /// What was written.
        found: String,
        /// What can be fetched.
        valid: Vec<String>,
    },
    /// A file that none of its addresses gave.
    #[error(
        "{name}: cannot be fetched\n  {}\n  hint: get it another way and give its folder: --from DIR",
        attempts.join("\n  ")
    )]
    Unreachable {
        /// The file.
        name: String,
        /// Each address and what it answered.
        attempts: Vec<String>,
    },
    /// An archive that is damaged or not the expected one.
    #[error("{}: {reason}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A tar archive or shard that is damaged or lies about itself.
    #[error("{}: {source}", path.display())]
    Tar {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: TarError,
    },
    /// A numpy archive that is damaged or of a kind that is not read.
    #[error("{}: at offset {offset}: {found}, expected a numpy archive of plain arrays", path.display())]
    Npz {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is there.
        found: String,
    },
    /// A sample of a tar shard that is not what a sample is.
    #[error("{}: sample {key:?} at offset {offset}: {found}, expected {expected}", path.display())]
    Shard {
        /// The shard.
        path: PathBuf,
        /// Where the member's header stands.
        offset: u64,
        /// The sample's key, or the member's path.
        key: String,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// A cache of decoded pictures that is damaged or cut short.
    #[error("{}: {found}, expected {expected}", path.display())]
    Cache {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// A folder that holds another preparation than the one to go on with.
    #[error("{}: {found}, expected {expected}\n  hint: give another folder, or remove this one", path.display())]
    Prepared {
        /// The record of the preparation.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What it should say.
        expected: String,
    },
    /// A parquet table that is damaged or holds other things.
    #[error("{}: {place}: {reason}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Which part of it.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// A pickle that is damaged, or would run code.
    #[error("{}: {source}", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: PickleError,
    },
    /// A pickle or array file that holds other things than images with labels.
    #[error("{}: {found}, expected {expected}", path.display())]
    PickleLayout {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// A label that is no class.
    #[error("{origin} is {found:?}, expected {expected}")]
    WrongLabel {
        /// The file and the image.
        origin: String,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: String,
    },
    /// Bytes that are not the published ones.
    #[error("{origin}: SHA-256 is {found}, expected {expected}")]
    WrongChecksum {
        /// The file or address.
        origin: String,
        /// The checksum of what is there.
        found: String,
        /// The published checksum, or all that are known.
        expected: String,
    },
}

fn describe(shape: Shape) -> String {
    format!("{} channels x {} rows x {} columns", shape.channels, shape.height, shape.width)
}
