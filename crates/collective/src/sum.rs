//! Sums and broadcasts over any exchange of messages: every rank adds up a slice and tells the others.
//!
//! That moves `2 (n - 1) / n` times the values in and out of each rank, as much as the best all-reduce, and the order of
//! additions is ours and not that of a library.

use crate::{Collective, CollectiveError, Tree};
use std::ops::AddAssign;

/// How single-precision values travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Wire {
    /// As they are.
    #[default]
    F32,
    /// Rounded to the nearest bf16, ties to even: half the bytes. Additions are in f32.
    Bf16,
}

/// Values that travel together: 25 MB is enough to hide the latency of a network, and little enough to hold twice.
const BUCKET: usize = 25 << 20;

/// A number as it travels.
trait Summand: Copy + AddAssign {
    const BYTES: usize;
    /// Fills exactly as many bytes.
    fn put(self, bytes: &mut [u8]);
    fn take(bytes: &[u8]) -> Self;
}

impl Summand for f64 {
    const BYTES: usize = 8;
    #[inline(always)]
    fn put(self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.to_le_bytes());
    }
    #[inline(always)]
    fn take(bytes: &[u8]) -> Self {
        Self::from_le_bytes(bytes.try_into().expect("eight bytes"))
    }
}

impl Summand for f32 {
    const BYTES: usize = 4;
    #[inline(always)]
    fn put(self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.to_le_bytes());
    }
    #[inline(always)]
    fn take(bytes: &[u8]) -> Self {
        Self::from_le_bytes(bytes.try_into().expect("four bytes"))
    }
}

/// Single precision that travels in half.
#[derive(Clone, Copy)]
struct Half(f32);

impl AddAssign for Half {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Summand for Half {
    const BYTES: usize = 2;
    #[inline(always)]
    fn put(self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&to_bf16(self.0).to_le_bytes());
    }
    #[inline(always)]
    fn take(bytes: &[u8]) -> Self {
        let upper = u16::from_le_bytes(bytes.try_into().expect("two bytes"));
        Self(f32::from_bits(u32::from(upper) << 16))
    }
}

/// The upper half of the nearest f32 that ends in zeros, ties to even; NaN stays NaN.
#[inline(always)]
fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    let even = (bits >> 16) & 1;
    (bits.wrapping_add(0x7fff + even) >> 16) as u16
}

pub(crate) fn single<C: Collective + ?Sized>(
    ranks: &C,
    values: &mut [f32],
    wire: Wire,
) -> Result<(), CollectiveError> {
    match wire {
        Wire::F32 => over(ranks, values, |x| x, |x: f32| x),
        Wire::Bf16 => over(ranks, values, Half, |Half(x)| x),
    }
}

pub(crate) fn double<C: Collective + ?Sized>(
    ranks: &C,
    values: &mut [f64],
) -> Result<(), CollectiveError> {
    over(ranks, values, |x| x, |x: f64| x)
}

fn over<C: Collective + ?Sized, V: Copy, S: Summand>(
    ranks: &C,
    values: &mut [V],
    wrap: impl Fn(V) -> S,
    unwrap: impl Fn(S) -> V,
) -> Result<(), CollectiveError> {
    const OPERATION: &str = "sum";
    let world = ranks.world_size();
    if world == 1 {
        return Ok(());
    }
    // Every rank learns of other lengths before a slice of the wrong length comes.
    for (other, length) in
        ranks.gather(OPERATION, &(values.len() as u64).to_le_bytes())?.iter().enumerate()
    {
        let found = u64::from_le_bytes(length.as_slice().try_into().unwrap_or_default()) as usize;
        if found != values.len() {
            let expected = values.len() * S::BYTES;
            let found = found * S::BYTES;
            return Err(CollectiveError::Length { operation: OPERATION, other, found, expected });
        }
    }
    for bucket in values.chunks_mut(BUCKET / S::BYTES) {
        let border = |rank: usize| bucket.len() * rank / world;
        let slice = |rank: usize| encode(&bucket[border(rank)..border(rank + 1)], &wrap);
        let summands = ranks.exchange(OPERATION, (0..world).map(slice).collect())?;
        let own = border(ranks.rank() + 1) - border(ranks.rank());
        let mut tree = Tree::default();
        for (other, summand) in summands.iter().enumerate() {
            tree.push(decode::<S>(summand, other, own)?);
        }
        let sum = tree.finish().expect("a world has at least one rank");
        let bytes = encode(&sum, |value| value);
        let borders: Vec<usize> = (0..=world).map(border).collect();
        for (other, slice) in ranks.gather(OPERATION, &bytes)?.iter().enumerate() {
            let target = &mut bucket[borders[other]..borders[other + 1]];
            let found = decode::<S>(slice, other, target.len())?;
            target.iter_mut().zip(found).for_each(|(value, sum)| *value = unwrap(sum));
        }
    }
    Ok(())
}

fn encode<V: Copy, S: Summand>(values: &[V], wrap: impl Fn(V) -> S) -> Vec<u8> {
    let mut bytes = vec![0; values.len() * S::BYTES];
    let places = bytes.chunks_exact_mut(S::BYTES);
    places.zip(values).for_each(|(place, &value)| wrap(value).put(place));
    bytes
}

fn decode<S: Summand>(bytes: &[u8], other: usize, count: usize) -> Result<Vec<S>, CollectiveError> {
    let (found, expected) = (bytes.len(), count * S::BYTES);
    if found != expected {
        return Err(CollectiveError::Length { operation: "sum", other, found, expected });
    }
    Ok(bytes.chunks_exact(S::BYTES).map(|number| S::take(number)).collect())
}

/// The root hands every rank a slice, and every rank hands its slice to all: the root's link carries the bytes twice,
/// not once per rank.
pub(crate) fn broadcast<C: Collective + ?Sized>(
    ranks: &C,
    root: usize,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, CollectiveError> {
    const OPERATION: &str = "broadcast";
    let world = ranks.world_size();
    if root >= world {
        let last = world - 1;
        return Err(CollectiveError::NoSuchRank { operation: OPERATION, found: root, last });
    }
    if world == 1 {
        return Ok(bytes);
    }
    let border = |rank: usize| bytes.len() * rank / world;
    let slice = |rank: usize| match ranks.rank() == root {
        true => bytes[border(rank)..border(rank + 1)].to_vec(),
        false => Vec::new(),
    };
    let mut slices = ranks.exchange(OPERATION, (0..world).map(slice).collect())?;
    let own = std::mem::take(&mut slices[root]);
    Ok(ranks.gather(OPERATION, &own)?.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_is_the_nearest_and_ties_go_to_even() {
        for (value, expected) in [
            (1.0_f32, 0x3f80),
            (-2.5, 0xc020),
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            (f32::MAX, 0x7f80),
            (f32::NEG_INFINITY, 0xff80),
        ] {
            assert_eq!(to_bf16(value), expected, "{value}");
        }
        assert!(Half::take(&to_bf16(f32::NAN).to_le_bytes()).0.is_nan());
        assert!(Half::take(&to_bf16(f32::from_bits(0x7f80_0001)).to_le_bytes()).0.is_nan());
    }
}
