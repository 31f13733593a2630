//! The inverse cosine transform of JPEG, of several blocks at once.
//!
//! Source: Loeffler, Ligtenberg and Moschytz 1989, in the whole-number form of libjpeg's `jidctint.c`: 13 bits behind the
//! point, two of them kept between columns and rows. The same bits as libjpeg, hence as Pillow.

/// Blocks that are transformed together: one lane each.
pub const BLOCKS: usize = 16;

/// Values of that many blocks: value `k` (row by row) of block `b` is at `k * BLOCKS + b`.
pub const LENGTH: usize = 64 * BLOCKS;

type Lanes = [i32; BLOCKS];

per_isa! {
    /// Writes the samples of `blocks` neighbouring blocks, 8 rows of `8 * blocks` bytes, rows `stride` bytes apart.
    ///
    /// Shapes: `coefficients` as at [`LENGTH`]; `steps` are the 64 quantisation steps, row by row.
    pub fn inverse_cosine(coefficients: &[i16; LENGTH], steps: &[i16; 64], blocks: usize, stride: usize, output: &mut [u8]) {
        assert!(blocks <= BLOCKS && output.len() >= 7 * stride + 8 * blocks, "8 rows of {blocks} blocks");
        let mut work = [[0_i32; BLOCKS]; 64];
        for column in 0..8 {
            let mut values = [[0_i32; BLOCKS]; 8];
            for (row, lanes) in values.iter_mut().enumerate() {
                let at = row * 8 + column;
                let stored = &coefficients[at * BLOCKS..][..BLOCKS];
                for (lane, &coefficient) in lanes.iter_mut().zip(stored) {
                    // A damaged file can overflow; it must not stop the program.
                    *lane = i32::from(coefficient.wrapping_mul(steps[at]));
                }
            }
            one_dimension::<11>(&mut values);
            for (row, lanes) in values.iter().enumerate() {
                work[row * 8 + column] = *lanes;
            }
        }
        for row in 0..8 {
            let mut values = [[0_i32; BLOCKS]; 8];
            values.copy_from_slice(&work[row * 8..row * 8 + 8]);
            one_dimension::<18>(&mut values);
            let mut bytes = [[0_u8; BLOCKS]; 8];
            for (bytes, lanes) in bytes.iter_mut().zip(&values) {
                for (byte, &value) in bytes.iter_mut().zip(lanes) {
                    *byte = value.wrapping_add(128).clamp(0, 255) as u8;
                }
            }
            let samples = output[row * stride..][..8 * blocks].chunks_exact_mut(8);
            for (block, samples) in samples.enumerate() {
                for (sample, lanes) in samples.iter_mut().zip(&bytes) {
                    *sample = lanes[block];
                }
            }
        }
    }
}

/// Eight values to eight, in each lane, rounded to `SHIFT` bits fewer.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "a lane runs through eight arrays at once")]
fn one_dimension<const SHIFT: u32>(values: &mut [Lanes; 8]) {
    for lane in 0..BLOCKS {
        let at = |k: usize| values[k][lane];
        let (even, odd) = (even([at(0), at(2), at(4), at(6)]), odd([at(1), at(3), at(5), at(7)]));
        for k in 0..4 {
            let round = |value: i32| value.wrapping_add(1 << (SHIFT - 1)) >> SHIFT;
            values[k][lane] = round(even[k].wrapping_add(odd[k]));
            values[7 - k][lane] = round(even[k].wrapping_sub(odd[k]));
        }
    }
}

#[inline(always)]
fn even([x0, x2, x4, x6]: [i32; 4]) -> [i32; 4] {
    let shared = x2.wrapping_add(x6).wrapping_mul(4433);
    let low = shared.wrapping_add(x6.wrapping_mul(-15137));
    let high = shared.wrapping_add(x2.wrapping_mul(6270));
    let sum = x0.wrapping_add(x4).wrapping_shl(13);
    let difference = x0.wrapping_sub(x4).wrapping_shl(13);
    [
        sum.wrapping_add(high),
        difference.wrapping_add(low),
        difference.wrapping_sub(low),
        sum.wrapping_sub(high),
    ]
}

#[inline(always)]
fn odd([x1, x3, x5, x7]: [i32; 4]) -> [i32; 4] {
    let (z3, z4) = (x7.wrapping_add(x3), x5.wrapping_add(x1));
    let z5 = z3.wrapping_add(z4).wrapping_mul(9633);
    let z1 = x7.wrapping_add(x1).wrapping_mul(-7373);
    let z2 = x5.wrapping_add(x3).wrapping_mul(-20995);
    let z3 = z3.wrapping_mul(-16069).wrapping_add(z5);
    let z4 = z4.wrapping_mul(-3196).wrapping_add(z5);
    [
        x1.wrapping_mul(12299).wrapping_add(z1).wrapping_add(z4),
        x3.wrapping_mul(25172).wrapping_add(z2).wrapping_add(z3),
        x5.wrapping_mul(16819).wrapping_add(z2).wrapping_add(z4),
        x7.wrapping_mul(2446).wrapping_add(z1).wrapping_add(z3),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    /// Numbers without a pattern, small enough for a real picture.
    fn coefficients() -> [i16; LENGTH] {
        let mut state = 1_u32;
        std::array::from_fn(|at| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let most = if at < BLOCKS { 60 } else { 12 };
            ((state >> 16) as i16 % most) * i16::from(state & 0x100 != 0)
        })
    }

    fn run(isa: Isa, blocks: usize) -> Vec<u8> {
        let steps = std::array::from_fn(|at| 3 + at as i16 / 4);
        let mut output = vec![0; 8 * 140];
        inverse_cosine(isa, &coefficients(), &steps, blocks, 140, &mut output);
        output
    }

    /// The exact transform in f64; libjpeg's whole numbers are within one level of it.
    #[test]
    fn blocks_are_within_one_level_of_the_exact_transform() {
        let found = run(Isa::Portable, BLOCKS);
        let basis = |x: usize, u: usize| {
            let scale = if u == 0 { 0.125_f64.sqrt() } else { 0.5 };
            scale * ((2 * x + 1) as f64 * u as f64 * std::f64::consts::PI / 16.0).cos()
        };
        for block in 0..BLOCKS {
            for (row, column) in (0..8).flat_map(|row| (0..8).map(move |column| (row, column))) {
                let mut exact = 128.0;
                for (v, u) in (0..8).flat_map(|v| (0..8).map(move |u| (v, u))) {
                    let at = v * 8 + u;
                    let value = coefficients()[at * BLOCKS + block] as f64 * (3 + at / 4) as f64;
                    exact += value * basis(row, v) * basis(column, u);
                }
                let sample = f64::from(found[row * 140 + block * 8 + column]);
                let expected = exact.clamp(0.0, 255.0);
                assert!(
                    (sample - expected).abs() < 1.0,
                    "{block} {row} {column}: {sample} {exact}"
                );
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bytes_and_writes_no_other_block() {
        let reference = run(Isa::Portable, BLOCKS);
        for isa in Isa::available() {
            assert_eq!(run(isa, BLOCKS), reference, "{isa}");
            for blocks in [1, 5] {
                let some = run(isa, blocks);
                for (row, expected) in some.chunks(140).zip(reference.chunks(140)) {
                    assert_eq!(row[..8 * blocks], expected[..8 * blocks]);
                    assert!(row[8 * blocks..].iter().all(|&byte| byte == 0));
                }
            }
        }
    }
}
