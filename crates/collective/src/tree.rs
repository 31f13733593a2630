//! Sums in an order that depends on the number of summands alone.

use std::ops::AddAssign;

/// A sum of vectors that come in order: neighbours are added in pairs, pairs in fours and so on.
///
/// The sum of summands `0..8` is that of `0..4` plus that of `4..8`, wherever each of the two was formed. So a rank may
/// add up its own part and the ranks may add up theirs: the bits are those of one process that adds all. At most one
/// vector per power of two is held at a time.
#[derive(Clone, Debug)]
pub struct Tree<T> {
    /// Complete subtrees: how many summands each holds, and their sum; sizes fall.
    parts: Vec<(usize, Vec<T>)>,
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { parts: Vec::new() }
    }
}

impl<T: Copy + AddAssign> Tree<T> {
    /// Adds the next summand; all have one length.
    pub fn push(&mut self, summand: Vec<T>) {
        let (mut size, mut sum) = (1, summand);
        while let Some((_, left)) = self.parts.pop_if(|(other, _)| *other == size) {
            (size, sum) = (2 * size, added(left, &sum));
        }
        self.parts.push((size, sum));
    }

    /// The sum of all, if there were any; what is left over at the end is added from the right.
    pub fn finish(mut self) -> Option<Vec<T>> {
        let (_, mut sum) = self.parts.pop()?;
        while let Some((_, left)) = self.parts.pop() {
            sum = added(left, &sum);
        }
        Some(sum)
    }
}

fn added<T: Copy + AddAssign>(mut left: Vec<T>, right: &[T]) -> Vec<T> {
    assert_eq!(left.len(), right.len(), "summands of a tree have one length");
    left.iter_mut().zip(right).for_each(|(sum, &x)| *sum += x);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(summands: &[f32]) -> Option<f32> {
        let mut tree = Tree::default();
        summands.iter().for_each(|&x| tree.push(vec![x]));
        tree.finish().map(|sum| sum[0])
    }

    /// Numbers of very different size, so that any other order gives other bits.
    fn numbers(count: u32) -> Vec<f32> {
        (0..count)
            .map(|i| (1.0 + (i * 37 % 101) as f32 / 7.0) * 10_f32.powi((i * 5 % 7) as i32 - 3))
            .collect()
    }

    #[test]
    fn g30_blocks_of_a_power_of_two_added_apart_give_the_bits_of_one_sum() {
        for count in [1_u32, 2, 4, 12, 16, 20, 24] {
            let all = numbers(count);
            let whole = sum(&all).unwrap();
            for block in [1, 2, 4, 8].into_iter().filter(|block| count.is_multiple_of(*block)) {
                let parts: Vec<f32> = all.chunks(block as usize).map(|b| sum(b).unwrap()).collect();
                let apart = sum(&parts).unwrap();
                assert_eq!(apart.to_bits(), whole.to_bits(), "{count} in blocks of {block}");
            }
        }
    }

    #[test]
    fn a_sum_of_any_number_is_right() {
        assert_eq!(sum(&[]), None);
        for count in 1..40_u32 {
            let integers: Vec<f32> = (1..=count).map(|i| i as f32).collect();
            assert_eq!(sum(&integers), Some((count * (count + 1) / 2) as f32));
        }
    }
}
