//! The validation split: training images that choose the best checkpoint, so that the test set never does.

use super::error::DataError;
use crate::stream::{Key, Purpose, Stream};

/// Positions in a training set, parted; both ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldOut {
    /// What is learned from.
    pub train: Vec<u64>,
    /// What selects.
    pub validation: Vec<u64>,
}

/// How many of `images` are held out if nobody says: one in twenty, at most 1,000, at least one.
///
/// 1,000 images give robust accuracy to about 1.6 points; more would only take from training.
pub fn default_held_out_count(images: usize) -> usize {
    (images / 20).clamp(1, 1000)
}

/// Holds `count` of `images` out, chosen uniformly by the seed alone.
///
/// Errors: `HeldOutCount` if nothing would be held out or nothing left.
pub fn hold_out(images: usize, count: usize, seed: u64) -> Result<HeldOut, DataError> {
    hold_out_and_draw(images, count, None, seed)
}

/// As [`hold_out`]; of the others only `learned` are kept, drawn by the seed too: a smaller number draws some of the same.
///
/// Errors: as [`hold_out`]; `LearnedCount` if so many are not left.
pub fn hold_out_and_draw(
    images: usize,
    count: usize,
    learned: Option<usize>,
    seed: u64,
) -> Result<HeldOut, DataError> {
    if count == 0 || count >= images {
        return Err(DataError::HeldOutCount { found: count, images });
    }
    let left = images - count;
    let learned = learned.unwrap_or(left);
    if learned == 0 || learned > left {
        return Err(DataError::LearnedCount { found: learned, left });
    }
    let key = Key { purpose: Purpose::Split, time: 0, index: 0, restart: 0 };
    let mut order: Vec<u64> = (0..images as u64).collect();
    shuffle(&mut order, Stream::new(seed), key);
    let mut validation = order.split_off(left);
    order.truncate(learned);
    order.sort_unstable();
    validation.sort_unstable();
    Ok(HeldOut { train: order, validation })
}

/// Fisher-Yates: every order equally likely, a function of seed and key. Source: Durstenfeld 1964, Algorithm 235.
pub(super) fn shuffle(items: &mut [u64], stream: Stream, key: Key) {
    let mut draws = stream.draws(key);
    for last in (1..items.len()).rev() {
        let other = draws.below(last as u32 + 1) as usize;
        items.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g31_the_validation_split_is_a_partition_and_a_function_of_the_seed() {
        let split = hold_out(1000, 100, 7).unwrap();
        assert_eq!((split.train.len(), split.validation.len()), (900, 100));
        let mut all = [split.train.clone(), split.validation.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<u64>>());
        assert_eq!(split, hold_out(1000, 100, 7).unwrap());
        assert_ne!(split, hold_out(1000, 100, 8).unwrap());
    }

    #[test]
    fn fewer_images_to_learn_from_are_some_of_them_and_leave_the_held_out_ones_as_they_are() {
        let all = hold_out(1000, 100, 7).unwrap();
        let draw = |learned| hold_out_and_draw(1000, 100, Some(learned), 7);
        let (few, fewer) = (draw(300).unwrap(), draw(50).unwrap());
        assert_eq!((few.train.len(), fewer.train.len()), (300, 50));
        assert!(few.validation == all.validation && fewer.validation == all.validation);
        assert!(few.train.is_sorted() && few.train.iter().all(|i| all.train.contains(i)));
        assert!(fewer.train.iter().all(|i| few.train.contains(i)));
        assert_eq!(draw(900).unwrap(), all);
        for learned in [0, 901] {
            assert!(matches!(draw(learned), Err(DataError::LearnedCount { left: 900, .. })));
        }
    }

    #[test]
    fn holding_out_nothing_or_everything_is_refused() {
        for count in [0, 10, 11] {
            assert!(matches!(hold_out(10, count, 0), Err(DataError::HeldOutCount { .. })));
        }
        assert_eq!([1, 100, 10_000, 60_000].map(default_held_out_count), [1, 5, 500, 1000]);
    }

    /// n = 6,000 shuffles of four items, seed 1: each of the 24 orders within 4 sigma (sigma = 15.5) of 250.
    #[test]
    fn g31_every_order_is_equally_likely() {
        let mut counts = std::collections::HashMap::new();
        for time in 0..6000 {
            let mut items = [0, 1, 2, 3];
            let key = Key { purpose: Purpose::Shuffle, time, index: 0, restart: 0 };
            shuffle(&mut items, Stream::new(1), key);
            *counts.entry(items).or_insert(0_i32) += 1;
        }
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|&count| (count - 250).abs() < 62), "{counts:?}");
    }
}
