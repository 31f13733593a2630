//! From the planes of a JPEG picture to its pixels: chroma spread to all pixels, then red, green and blue.
//!
//! Source: libjpeg, `jdsample.c` (triangle filter, "fancy upsampling") and `jdcolor.c`; the same bits.

per_isa! {
    /// Three parts of the nearer row and one of the farther.
    ///
    /// Shapes: all three of one length.
    pub fn weigh_rows(near: &[u8], far: &[u8], sums: &mut [u16]) {
        assert!(near.len() == sums.len() && far.len() == sums.len(), "rows of one length");
        for ((sum, &near), &far) in sums.iter_mut().zip(near).zip(far) {
            *sum = 3 * u16::from(near) + u16::from(far);
        }
    }
}

per_isa! {
    /// Two values for each, three parts of itself and one of its neighbour on that side.
    ///
    /// Shapes: `sums` has one value more on each side than `output` has pairs. `rounding` is added left and right before
    /// `shift` bits are dropped.
    pub fn spread(sums: &[u16], rounding: [u16; 2], shift: u32, output: &mut [u8]) {
        let count = output.len() / 2;
        assert!(output.len() == 2 * count && sums.len() == count + 2, "pairs of {count} values and their neighbours");
        let [left, right] = rounding;
        let (before, own, after) = (&sums[..count], &sums[1..=count], &sums[2..]);
        for (((pair, &before), &own), &after) in output.chunks_exact_mut(2).zip(before).zip(own).zip(after) {
            pair[0] = ((3 * own + before + left) >> shift) as u8;
            pair[1] = ((3 * own + after + right) >> shift) as u8;
        }
    }
}

per_isa! {
    /// Luma and chroma to pixels of four bytes: red, green, blue and a zero.
    ///
    /// Shapes: planes of one length, four times that in the output. Source: JFIF 1.02, in 16 bits behind the point as libjpeg.
    pub fn to_rgb(luma: &[u8], blue: &[u8], red: &[u8], output: &mut [u8]) {
        let count = luma.len();
        assert!(output.len() == 4 * count && blue.len() == count && red.len() == count, "planes of one length");
        for (((pixel, &luma), &blue), &red) in output.chunks_exact_mut(4).zip(luma).zip(blue).zip(red) {
            let (y, b, r) = (i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128);
            const HALF: i32 = 1 << 15;
            let red = (y + ((91_881 * r + HALF) >> 16)).clamp(0, 255);
            let green = (y + ((-22_554 * b - 46_802 * r + HALF) >> 16)).clamp(0, 255);
            let blue = (y + ((116_130 * b + HALF) >> 16)).clamp(0, 255);
            pixel.copy_from_slice(&((red | green << 8 | blue << 16) as u32).to_le_bytes());
        }
    }
}

per_isa! {
    /// Pixels of four bytes to planes of red, green and blue.
    ///
    /// Shapes: `planes` is three times as long as there are pixels.
    pub fn to_planes(pixels: &[u8], planes: &mut [u8]) {
        let count = pixels.len() / 4;
        assert!(pixels.len() == 4 * count && planes.len() == 3 * count, "three planes of {count} pixels");
        for (channel, plane) in planes.chunks_exact_mut(count.max(1)).enumerate() {
            for (byte, pixel) in plane.iter_mut().zip(pixels.chunks_exact(4)) {
                *byte = pixel[channel];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    #[test]
    fn grey_has_equal_colours_and_the_primaries_are_where_jfif_has_them() {
        for isa in Isa::available() {
            let mut pixels = [1; 20];
            let luma = [0, 77, 255, 76, 29];
            let (blue, red) = ([128, 128, 128, 85, 255], [128, 128, 128, 255, 107]);
            to_rgb(isa, &luma, &blue, &red, &mut pixels);
            let [a, b, c] = [[77, 77, 77, 0], [254, 0, 0, 0], [0, 0, 254, 0]];
            assert_eq!(pixels[..], [[0; 4], a, [255, 255, 255, 0], b, c].concat(), "{isa}");
            let mut planes = [0; 15];
            to_planes(isa, &pixels, &mut planes);
            assert_eq!(planes, [0, 77, 255, 254, 0, 0, 77, 255, 0, 0, 0, 77, 255, 0, 254], "{isa}");
        }
    }

    /// Expected values worked out by hand from the formulas of `jdsample.c`, edges included.
    #[test]
    fn a_row_is_spread_as_libjpeg_spreads_it() {
        for isa in Isa::available() {
            let mut output = [0; 6];
            spread(isa, &[10, 10, 20, 40, 40], [1, 2], 2, &mut output);
            assert_eq!(output, [10, 13, 17, 25, 35, 40], "{isa}");
            let mut sums = [0; 3];
            weigh_rows(isa, &[10, 20, 40], &[14, 20, 0], &mut sums);
            assert_eq!(sums, [44, 80, 120], "{isa}");
            spread(isa, &[44, 44, 80, 120, 120], [8, 7], 4, &mut output);
            assert_eq!(output, [11, 13, 18, 22, 28, 30], "{isa}");
        }
    }
}
