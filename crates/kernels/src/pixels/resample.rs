//! Weighted sums of bytes along rows and down columns, in 22 bits behind the point as Pillow's `Resample.c`.

/// Bits of a weight behind the point.
pub const PRECISION: u32 = 32 - 8 - 2;
const HALF: i32 = 1 << (PRECISION - 1);
/// Bytes whose sums stay in registers on the way down.
const BLOCK: usize = 64;

/// Rows that go across together: sixteen sums at a time, where a row alone has four.
pub const ROWS: usize = 4;

per_isa! {
    /// [`ROWS`] rows of pixels of four bytes: output `i` of each is `spans[i].1` pixels from `spans[i].0` on, weighed.
    ///
    /// Shapes: `source` is so many rows, `output` too; `woven` is memory for as many bytes as the source has. `weights` has
    /// `stride` values per output, of which the first `spans[i].1` count.
    pub fn across(source: &[u8], woven: &mut [u8], spans: &[(usize, usize)], weights: &[i32], stride: usize, output: &mut [u8]) {
        const PIXEL: usize = 4 * ROWS;
        assert!(woven.len() == source.len() && source.len().is_multiple_of(PIXEL), "four rows of pixels");
        assert!(output.len() == spans.len() * PIXEL, "four rows of outputs");
        // The pixels of a column side by side, so that a weight meets all of them at once.
        for (row, line) in source.chunks_exact(source.len() / ROWS).enumerate() {
            for (pixel, from) in woven.chunks_exact_mut(PIXEL).zip(line.chunks_exact(4)) {
                pixel[row * 4..row * 4 + 4].copy_from_slice(from);
            }
        }
        let length = spans.len() * 4;
        let rows = weights.chunks_exact(stride);
        for (at, (&(first, count), weights)) in spans.iter().zip(rows).enumerate() {
            let mut sums = [HALF; PIXEL];
            let taken = woven[first * PIXEL..][..count * PIXEL].chunks_exact(PIXEL);
            for (from, &weight) in taken.zip(weights) {
                for lane in 0..PIXEL {
                    sums[lane] += i32::from(from[lane]) * weight;
                }
            }
            let mut bytes = [0; PIXEL];
            for lane in 0..PIXEL {
                bytes[lane] = (sums[lane] >> PRECISION).clamp(0, 255) as u8;
            }
            for row in 0..ROWS {
                output[row * length + at * 4..][..4].copy_from_slice(&bytes[row * 4..row * 4 + 4]);
            }
        }
    }
}

per_isa! {
    /// One row out of as many rows as there are weights, each as long as the output.
    pub fn down(rows: &[u8], weights: &[i32], output: &mut [u8]) {
        let length = output.len();
        for (block, output) in output.chunks_mut(BLOCK).enumerate() {
            let mut sums = [HALF; BLOCK];
            for (line, &weight) in rows.chunks_exact(length).zip(weights) {
                let line = &line[block * BLOCK..][..output.len()];
                if let Ok(line) = <&[u8; BLOCK]>::try_from(line) {
                    for lane in 0..BLOCK {
                        sums[lane] += i32::from(line[lane]) * weight;
                    }
                } else {
                    for (sum, &byte) in sums.iter_mut().zip(line) {
                        *sum += i32::from(byte) * weight;
                    }
                }
            }
            for (byte, &sum) in output.iter_mut().zip(&sums) {
                *byte = (sum >> PRECISION).clamp(0, 255) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|at| (at * 37 % 251) as u8).collect()
    }

    #[test]
    fn every_instruction_set_gives_the_sums_of_the_definition() {
        const ONE: i32 = 1 << PRECISION;
        let (spans, stride) = ([(0, 1), (1, 3), (0, 4)], 5);
        let weights = [
            [ONE, 0, 0, 0, 0],
            [ONE / 4, ONE / 2, ONE / 4, 0, 0],
            [-ONE / 8, ONE / 2, ONE, -ONE / 8, 0],
        ]
        .concat();
        let source = bytes(64);
        let sum = |at: &mut dyn Iterator<Item = (u8, i32)>| {
            let total: i64 = at.map(|(byte, weight)| i64::from(byte) * i64::from(weight)).sum();
            ((total + i64::from(HALF)) >> PRECISION).clamp(0, 255) as u8
        };
        for isa in Isa::available() {
            let (mut woven, mut output) = ([0; 64], [0; 48]);
            across(isa, &source, &mut woven, &spans, &weights, stride, &mut output);
            for (at, &byte) in output.iter().enumerate() {
                let (row, pixel, channel) = (at / 12, at % 12 / 4, at % 4);
                let (first, count) = spans[pixel];
                let taps = (0..count).map(|tap| {
                    (source[row * 16 + (first + tap) * 4 + channel], weights[pixel * stride + tap])
                });
                assert_eq!(byte, sum(&mut taps.into_iter()), "{isa} {at}");
            }
            for length in [1, 63, 64, 65, 150] {
                let rows = bytes(3 * length);
                let mut output = vec![0; length];
                down(isa, &rows, &weights[5..8], &mut output);
                for (at, &byte) in output.iter().enumerate() {
                    let taps = (0..3).map(|row| (rows[row * length + at], weights[5 + row]));
                    assert_eq!(byte, sum(&mut taps.into_iter()), "{isa} {length} {at}");
                }
            }
        }
    }
}
