//! bf16: the upper half of an f32, rounded to nearest even.

use crate::Isa;

/// Rounds to bf16; NaN stays NaN.
#[inline(always)]
pub fn from_f32(x: f32) -> u16 {
    let bits = x.to_bits();
    // Half of the last kept bit, less one where that bit is even: ties go to even. Both cases are computed, so that the
    // compiler can choose between lanes.
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let quiet = (bits >> 16) | 0x40;
    if x.is_nan() { quiet as u16 } else { rounded as u16 }
}

/// Exact.
#[inline(always)]
pub fn to_f32(x: u16) -> f32 {
    f32::from_bits(u32::from(x) << 16)
}

/// Rounds all of `wide` to bf16.
pub fn narrow(isa: Isa, wide: &[f32], half: &mut [u16]) {
    assert_eq!(wide.len(), half.len(), "as many bf16 as f32");
    narrow_all(isa, wide, half);
}

/// Writes all of `half` as f32; exact.
pub fn widen(isa: Isa, half: &[u16], wide: &mut [f32]) {
    assert_eq!(wide.len(), half.len(), "as many f32 as bf16");
    widen_all(isa, half, wide);
}

per_isa! {
    fn narrow_all(wide: &[f32], half: &mut [u16]) {
        for (to, from) in half.iter_mut().zip(wide) {
            *to = from_f32(*from);
        }
    }
}

per_isa! {
    fn widen_all(half: &[u16], wide: &mut [f32]) {
        for (to, from) in wide.iter_mut().zip(half) {
            *to = f32::from_bits(u32::from(*from) << 16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_goes_to_nearest_and_ties_go_to_even() {
        for (x, expected) in [
            (1.0, 1.0),
            (1.0 + 1.0 / 256.0, 1.0),
            (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0),
            (1.0 + 1.1 / 256.0, 1.0 + 2.0 / 256.0),
            (-3.0e38, -3.004_055_3e38),
            (f32::INFINITY, f32::INFINITY),
        ] {
            assert_eq!(to_f32(from_f32(x)), expected, "{x}");
        }
        assert!(to_f32(from_f32(f32::NAN)).is_nan());
    }

    #[test]
    fn slices_round_as_single_numbers_do() {
        let wide: Vec<f32> = (0..1000).map(|i| (i as f32 - 500.0) * 1.2345e-3).collect();
        let expected: Vec<u16> = wide.iter().map(|&x| from_f32(x)).collect();
        for isa in Isa::available() {
            let mut half = vec![0; wide.len()];
            narrow(isa, &wide, &mut half);
            assert_eq!(half, expected, "{isa}");
            let mut back = vec![0.0; wide.len()];
            widen(isa, &half, &mut back);
            assert!(back.iter().zip(&half).all(|(x, &h)| *x == to_f32(h)), "{isa}");
        }
    }
}
