//! Where the judged images come from.

use super::EvaluateError;
use crate::data::Dataset;
use crate::image::Batch;
use crate::stream::{Key, Purpose, Stream};
use network::Shape;

/// Images with their labels, by position. A data set's split is one; a batch in memory is another.
pub trait Examples: Sync {
    /// How many there are.
    fn count(&self) -> usize;
    /// Shape of each.
    fn shape(&self) -> Shape;
    /// The images at `positions`, in that order; their indices are the positions.
    fn read(&self, positions: &[usize]) -> Result<Batch, Box<dyn std::error::Error + Send + Sync>>;
}

impl Examples for Batch {
    fn count(&self) -> usize {
        self.images.count
    }

    fn shape(&self) -> Shape {
        self.images.shape
    }

    fn read(&self, positions: &[usize]) -> Result<Batch, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.select(positions))
    }
}

impl Examples for Dataset {
    fn count(&self) -> usize {
        self.len()
    }

    fn shape(&self) -> Shape {
        Dataset::shape(self)
    }

    fn read(&self, positions: &[usize]) -> Result<Batch, Box<dyn std::error::Error + Send + Sync>> {
        let indices: Vec<u64> = positions.iter().map(|&position| position as u64).collect();
        Ok(self.batch(&indices)?)
    }
}

/// Which images are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Samples {
    /// All of them.
    All,
    /// So many, chosen by the seed alone: the same images for every model of that seed.
    Some(usize),
}

impl Samples {
    /// The positions to judge among `available` images, rising.
    ///
    /// A subset takes the images with the smallest draws, so that a larger subset of the same seed contains a smaller
    /// one. Errors: `Samples` if none or more than `available` are asked for.
    pub fn positions(&self, available: usize, seed: u64) -> Result<Vec<usize>, EvaluateError> {
        let asked = match *self {
            Self::All => available,
            Self::Some(asked) => asked,
        };
        if asked == 0 || asked > available {
            return Err(EvaluateError::Samples { asked, available });
        }
        if asked == available {
            return Ok((0..available).collect());
        }
        let stream = Stream::new(seed);
        let mut draws: Vec<(u32, usize)> = (0..available)
            .map(|position| {
                let index = u32::try_from(position).expect("fewer than 2^32 images in a data set");
                let key = Key { purpose: Purpose::Subset, time: 0, index, restart: 0 };
                (stream.draws(key).bits(), position)
            })
            .collect();
        draws.sort_unstable();
        let mut positions: Vec<usize> =
            draws[..asked].iter().map(|&(_, position)| position).collect();
        positions.sort_unstable();
        Ok(positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_subset_contains_a_smaller_one_and_another_seed_differs() {
        let few = Samples::Some(20).positions(1000, 7).unwrap();
        let many = Samples::Some(200).positions(1000, 7).unwrap();
        assert_eq!(few.len(), 20);
        assert!(few.is_sorted() && few.iter().all(|position| many.contains(position)));
        assert_ne!(few, Samples::Some(20).positions(1000, 8).unwrap());
        assert_eq!(Samples::All.positions(3, 7).unwrap(), [0, 1, 2]);
    }

    #[test]
    fn more_images_than_there_are_is_an_error_that_names_both() {
        let error = Samples::Some(11).positions(10, 0).unwrap_err();
        assert_eq!(error.to_string(), "asked for 11 images, the data set has 10");
        assert!(Samples::Some(0).positions(10, 0).is_err());
    }
}
