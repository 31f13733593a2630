//! Batches by (epoch, step): random access, so that resuming in mid-epoch is exact.

use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::augment::Augment;
use super::dataset::Dataset;
use super::deal::Deal;
use super::error::DataError;
use super::order::Order;
use super::prefetch::{Prefetch, PrefetchSettings};
use super::read::Scratch;
use crate::image::{Batch, Images};
use crate::stream::Stream;

/// What happens to the images left over when the batch size does not divide their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastBatch {
    /// They are left out of this epoch.
    Drop,
    /// They make a smaller batch.
    Keep,
}

/// What happens when an image cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnCorrupt {
    /// The error ends the epoch.
    #[default]
    Fail,
    /// The batch goes without it and says so; no other image takes its place.
    Skip,
}

/// How images become batches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoaderSettings {
    /// Images in a batch.
    pub batch_size: usize,
    /// What order and augmentation depend on.
    pub seed: u64,
    /// In which order.
    pub order: Order,
    /// What happens to the rest.
    pub last: LastBatch,
    /// What is done to each image.
    pub augment: Augment,
    /// What happens when an image cannot be read.
    pub on_corrupt: OnCorrupt,
    /// How far and by how many threads batches are made ahead.
    pub prefetch: PrefetchSettings,
}

/// An image that a batch goes without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its position in the data set.
    pub index: u64,
    /// What is wrong with it; begins with its name.
    pub reason: String,
}

/// A batch and what is missing from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The batch, or this process's share of it; never empty.
    pub batch: Batch,
    /// How many of its images each of this process's workers has, in order.
    pub parts: Vec<usize>,
    /// What could not be read, in the order of the batch.
    pub skipped: Vec<Skipped>,
}

/// A place in training: the batch that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Epochs done.
    pub epoch: u32,
    /// Steps done in this epoch.
    pub step: u32,
}

/// Batches of some images of a data set, by epoch and step; cheap to clone.
#[derive(Clone, Debug)]
pub struct Loader {
    dataset: Arc<Dataset>,
    indices: Arc<[u64]>,
    settings: LoaderSettings,
    stream: Stream,
    deal: Deal,
}

impl Loader {
    /// Batches of all images.
    ///
    /// Errors: as [`Loader::over`].
    pub fn new(dataset: Arc<Dataset>, settings: LoaderSettings) -> Result<Self, DataError> {
        let indices = (0..dataset.len() as u64).collect();
        Self::over(dataset, indices, settings)
    }

    /// Batches of the images at `indices`, which ascend: one side of a [`hold_out`](super::hold_out), for instance.
    ///
    /// Errors: `Empty`, `NoSuchImage`; `BatchSize` if it is 0 or more than there are images; `Padding` if a crop could
    /// miss the image; `Augment` for numbers that say nothing, or colours to be changed in grey images.
    pub fn over(
        dataset: Arc<Dataset>,
        indices: Vec<u64>,
        settings: LoaderSettings,
    ) -> Result<Self, DataError> {
        if indices.is_empty() {
            return Err(DataError::Empty { name: dataset.name().to_owned() });
        }
        if let Some(&index) = indices.iter().find(|&&index| index >= dataset.len() as u64) {
            let name = dataset.name().to_owned();
            return Err(DataError::NoSuchImage { name, index, images: dataset.len() });
        }
        if settings.batch_size == 0 || settings.batch_size > indices.len() {
            return Err(DataError::BatchSize {
                name: dataset.name().to_owned(),
                found: settings.batch_size,
                images: indices.len(),
            });
        }
        let side = dataset.shape().height.min(dataset.shape().width);
        if settings.augment.pad as usize >= side {
            let name = dataset.name().to_owned();
            return Err(DataError::Padding { name, found: settings.augment.pad, side });
        }
        settings.augment.check(dataset.shape())?;
        let stream = Stream::new(settings.seed);
        let deal = Deal::whole();
        Ok(Self { dataset, indices: indices.into(), settings, stream, deal })
    }

    /// The same batches, of which this process reads its workers' shares alone.
    pub fn dealt(self, deal: Deal) -> Self {
        Self { deal, ..self }
    }

    /// What the batches are of.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// How they are made.
    pub fn settings(&self) -> &LoaderSettings {
        &self.settings
    }

    /// Images of a full batch that this process reads.
    pub(super) fn own_images(&self) -> usize {
        self.deal.images(self.settings.batch_size).len()
    }

    /// Images an epoch goes through, before any are dropped.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Never true: a loader of nothing cannot be made.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Batches in an epoch; at least 1.
    pub fn steps_per_epoch(&self) -> u32 {
        let steps = match self.settings.last {
            LastBatch::Drop => self.indices.len() / self.settings.batch_size,
            LastBatch::Keep => self.indices.len().div_ceil(self.settings.batch_size),
        };
        u32::try_from(steps).expect("a data set has at most 2^32 images")
    }

    /// Where training is after `steps` steps from the start.
    pub fn position(&self, steps: u64) -> Position {
        let per_epoch = u64::from(self.steps_per_epoch());
        let epoch = u32::try_from(steps / per_epoch).expect("fewer than 2^32 epochs");
        Position { epoch, step: (steps % per_epoch) as u32 }
    }

    /// All image positions in the order of `epoch`.
    pub fn order(&self, epoch: u32) -> Vec<u64> {
        let mut order = self.indices.to_vec();
        self.settings.order.arrange(&mut order, &self.dataset, self.stream, epoch);
        order
    }

    /// The batch at `position`; without what [`OnCorrupt::Skip`] leaves out.
    ///
    /// Units: pixels in `[0, 1]`. Errors: as [`Loader::load`].
    pub fn batch(&self, position: Position) -> Result<Batch, DataError> {
        Ok(self.load(position)?.batch)
    }

    /// The batch at `position` and what is missing from it, read on all threads of the current pool.
    ///
    /// Units: pixels in `[0, 1]`. Errors: `NoSuchStep`; as [`Dataset::read`], of the first image that has one;
    /// `NothingLeft` if all images were to be skipped.
    pub fn load(&self, position: Position) -> Result<Loaded, DataError> {
        self.load_of(&self.order(position.epoch), position)
    }

    /// As [`Loader::load`], given the order of the epoch.
    pub(super) fn load_of(&self, order: &[u64], position: Position) -> Result<Loaded, DataError> {
        let steps = self.steps_per_epoch();
        if position.step >= steps {
            let name = self.dataset.name().to_owned();
            return Err(DataError::NoSuchStep { name, step: position.step, steps });
        }
        let size = self.settings.batch_size;
        let start = position.step as usize * size;
        let whole = &order[start..order.len().min(start + size)];
        let indices = whole[self.deal.images(whole.len())].to_vec();
        let parts = self.deal.parts(whole.len());
        let shape = self.dataset.shape();
        let mut images = Images::zeros(indices.len(), shape);
        let results: Vec<Result<(), DataError>> = images
            .pixels
            .par_chunks_mut(shape.len())
            .zip(&indices)
            .map_init(Default::default, |(scratch, bytes), (image, &index)| {
                self.one(index, position.epoch, scratch, bytes, image)
            })
            .collect();
        let labels = indices.iter().map(|&index| self.dataset.labels()[index as usize]).collect();
        self.without_corrupt(Batch { images, labels, indices }, parts, results, position)
    }

    fn one(
        &self,
        index: u64,
        epoch: u32,
        scratch: &mut Scratch,
        bytes: &mut Vec<u8>,
        image: &mut [f32],
    ) -> Result<(), DataError> {
        let (augment, shape) = (self.settings.augment, self.dataset.shape());
        bytes.resize(shape.len(), 0);
        match augment.crop {
            None => self.dataset.read_with(index, None, scratch, bytes)?,
            Some(crop) => {
                let cut = |width: usize, height: usize| {
                    let region = crop.draw(self.stream, epoch, index, width, height);
                    crop.resampling(region, shape)
                };
                self.dataset.read_with(index, Some(&cut), scratch, bytes)?;
            }
        }
        augment.apply(bytes, shape, self.stream, epoch, index, image);
        Ok(())
    }

    /// The first error, or the batch without the images that have one.
    fn without_corrupt(
        &self,
        batch: Batch,
        mut parts: Vec<usize>,
        results: Vec<Result<(), DataError>>,
        position: Position,
    ) -> Result<Loaded, DataError> {
        if self.settings.on_corrupt == OnCorrupt::Fail {
            results.into_iter().collect::<Result<(), DataError>>()?;
            return Ok(Loaded { batch, parts, skipped: Vec::new() });
        }
        let (mut good, mut skipped) = (Vec::new(), Vec::new());
        for (slot, result) in results.into_iter().enumerate() {
            match result {
                Ok(()) => good.push(slot),
                Err(error) => {
                    skipped.push(Skipped { index: batch.indices[slot], reason: error.to_string() })
                }
            }
        }
        if good.is_empty() {
            return Err(DataError::NothingLeft {
                epoch: position.epoch,
                step: position.step,
                images: skipped.len(),
                first: skipped.swap_remove(0).reason,
            });
        }
        let batch = if skipped.is_empty() { batch } else { batch.select(&good) };
        let mut begin = 0;
        for part in &mut parts {
            let share = begin..begin + *part;
            begin = share.end;
            *part = good.iter().filter(|slot| share.contains(slot)).count();
        }
        Ok(Loaded { batch, parts, skipped })
    }

    /// The batches from `start` to the end of epoch `epochs - 1`, made ahead on threads of their own.
    pub fn prefetch(&self, start: Position, epochs: u32) -> Prefetch {
        Prefetch::start(self.clone(), start, epochs)
    }
}

#[cfg(test)]
mod tests {
    use network::Shape;

    use super::super::augment::Flip;
    use super::super::colour::Colour;
    use super::super::dataset::{Part, Pixels};
    use super::super::files::Files;
    use super::*;

    const SETTINGS: LoaderSettings = LoaderSettings {
        batch_size: 4,
        seed: 11,
        order: Order::Shuffled,
        last: LastBatch::Keep,
        augment: Augment {
            crop: None,
            pad: 2,
            flip: Flip::Horizontal,
            colour: Colour { brightness: 0.0, contrast: 0.0, saturation: 0.0, lighting: 0.0 },
        },
        on_corrupt: OnCorrupt::Fail,
        prefetch: PrefetchSettings { workers: 2, bytes: 1 << 20 },
    };

    fn dataset(images: usize) -> Arc<Dataset> {
        let shape = Shape::new(1, 3, 3);
        let bytes = (0..images * shape.len()).map(|byte| (byte * 7 % 251) as u8).collect();
        let labels = (0..images as u32).map(|index| index % 2).collect();
        let names = vec!["even".to_owned(), "odd".to_owned()];
        let pixels = Pixels::Memory(bytes);
        Arc::new(Dataset::new("d", Part::Train, shape, names, labels, pixels).unwrap())
    }

    fn loader(images: usize, settings: LoaderSettings) -> Loader {
        Loader::new(dataset(images), settings).unwrap()
    }

    fn epoch_indices(loader: &Loader, epoch: u32) -> Vec<u64> {
        (0..loader.steps_per_epoch())
            .flat_map(|step| loader.batch(Position { epoch, step }).unwrap().indices)
            .collect()
    }

    #[test]
    fn g31_every_index_once_per_epoch() {
        for (last, steps, images) in [(LastBatch::Keep, 3, 10), (LastBatch::Drop, 2, 8)] {
            let loader = loader(10, LoaderSettings { last, ..SETTINGS });
            assert_eq!(loader.steps_per_epoch(), steps);
            let mut indices = epoch_indices(&loader, 3);
            indices.sort_unstable();
            indices.dedup();
            assert_eq!(indices.len(), images);
        }
    }

    #[test]
    fn g31_order_is_a_function_of_seed_and_epoch() {
        let first = loader(100, SETTINGS);
        assert_eq!(first.order(2), loader(100, SETTINGS).order(2));
        assert_ne!(first.order(2), first.order(3));
        assert_ne!(first.order(2), loader(100, LoaderSettings { seed: 12, ..SETTINGS }).order(2));
        // Neither the batch size nor the augmentation moves an image to another place.
        let other = LoaderSettings { batch_size: 7, augment: Augment::default(), ..SETTINGS };
        assert_eq!(epoch_indices(&first, 2), epoch_indices(&loader(100, other), 2));
        let ascending = loader(100, LoaderSettings { order: Order::Ascending, ..SETTINGS });
        assert_eq!(ascending.order(5), (0..100).collect::<Vec<u64>>());
    }

    /// Class folders lie class by class; an epoch must not. n = 20,000 images in 100 classes, batches of 100, seed 11, three
    /// epochs. A batch drawn without replacement has 63.5 classes on average (deviation of the mean of 200 batches 0.22,
    /// bound 4 of them), two neighbours in the order are neighbours on disk twice in an epoch (bound 12), and an image's
    /// position is uncorrelated with its place in the order (deviation 0.0071, bound 4 of them).
    #[test]
    fn g31_an_epoch_is_shuffled_well() {
        let count = 20_000_usize;
        let settings = LoaderSettings { batch_size: 100, ..SETTINGS };
        let loader = loader(count, settings);
        for epoch in 0..3 {
            let order = loader.order(epoch);
            let mut classes = 0;
            for batch in order.chunks(100) {
                let mut seen: Vec<u64> = batch.iter().map(|index| index / 200).collect();
                seen.sort_unstable();
                seen.dedup();
                classes += seen.len();
            }
            let mean = classes as f64 / 200.0;
            assert!((mean - 63.5).abs() < 0.9, "{mean} classes in a batch");
            let neighbours = order.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count();
            assert!(neighbours < 12, "{neighbours} neighbours");
            let middle = (count - 1) as f64 / 2.0;
            let products = order
                .iter()
                .enumerate()
                .map(|(place, &index)| (place as f64 - middle) * (index as f64 - middle));
            let variance = (count as f64).powi(2) / 12.0 * count as f64;
            let correlation = products.sum::<f64>() / variance;
            assert!(correlation.abs() < 0.0284, "{correlation}");
        }
    }

    #[test]
    fn g31_an_image_looks_the_same_whatever_the_batch_size() {
        let (four, seven) =
            (loader(21, SETTINGS), loader(21, LoaderSettings { batch_size: 7, ..SETTINGS }));
        let pictures = |loader: &Loader| -> Vec<f32> {
            (0..loader.steps_per_epoch())
                .flat_map(|step| loader.batch(Position { epoch: 1, step }).unwrap().images.pixels)
                .collect()
        };
        assert_eq!(pictures(&four), pictures(&seven));
    }

    #[test]
    fn g31_prefetching_from_any_position_gives_the_batches_of_random_access() {
        let loader = loader(10, SETTINGS);
        for start in [0, 1, 2, 3, 5] {
            let mut steps = start;
            for item in loader.prefetch(loader.position(start), 3) {
                let item = item.unwrap();
                assert_eq!(item.position, loader.position(steps));
                assert_eq!(item.batch, loader.batch(item.position).unwrap());
                steps += 1;
            }
            assert_eq!(steps, 9);
        }
    }

    #[test]
    fn g31_batches_do_not_depend_on_threads() {
        let loader = loader(64, SETTINGS);
        let alone: Vec<Batch> =
            (0..16).map(|step| loader.batch(Position { epoch: 4, step }).unwrap()).collect();
        let together: Vec<Vec<Batch>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| -> Vec<Batch> {
                        loader
                            .prefetch(Position { epoch: 4, step: 0 }, 5)
                            .map(|item| item.unwrap().batch)
                            .collect()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        together.iter().for_each(|batches| assert_eq!(*batches, alone));
    }

    #[test]
    fn prefetching_ends_with_the_first_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::default();
        files.add_folder(folder.path().to_owned());
        files.add("vanished.png");
        files.add("vanished.png");
        let pixels = Pixels::Pictures(Arc::new(files));
        let names = vec!["a".to_owned(), "b".to_owned()];
        let set = Dataset::new("d", Part::Train, Shape::new(1, 3, 3), names, vec![0, 1], pixels);
        let loader = LoaderSettings { batch_size: 1, ..SETTINGS };
        let loader = Loader::new(Arc::new(set.unwrap()), loader).unwrap();
        let mut prefetch = loader.prefetch(loader.position(0), 2);
        let error = prefetch.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("vanished.png"), "{error}");
        assert!(prefetch.next().is_none());
    }

    #[test]
    fn dropping_a_prefetch_early_ends_its_thread() {
        let loader = loader(10, SETTINGS);
        let mut prefetch = loader.prefetch(loader.position(0), u32::MAX);
        assert!(prefetch.next().is_some());
        drop(prefetch);
    }

    #[test]
    fn impossible_settings_and_steps_are_refused() {
        for batch_size in [0, 11] {
            let error = Loader::new(dataset(10), LoaderSettings { batch_size, ..SETTINGS });
            assert!(matches!(error, Err(DataError::BatchSize { images: 10, .. })));
        }
        let augment = Augment { pad: 3, ..Augment::default() };
        let error = Loader::new(dataset(10), LoaderSettings { augment, ..SETTINGS }).unwrap_err();
        assert!(matches!(error, DataError::Padding { found: 3, side: 3, .. }));
        let error = Loader::over(dataset(10), vec![], SETTINGS).unwrap_err();
        assert!(matches!(error, DataError::Empty { .. }));
        let error = Loader::over(dataset(10), vec![0, 1, 2, 10], SETTINGS).unwrap_err();
        assert!(matches!(error, DataError::NoSuchImage { index: 10, .. }));
        let error = loader(10, SETTINGS).batch(Position { epoch: 0, step: 3 }).unwrap_err();
        assert!(matches!(error, DataError::NoSuchStep { step: 3, steps: 3, .. }));
    }
}
