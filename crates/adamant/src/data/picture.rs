//! One PNG or JPEG file to bytes, as Pillow decodes it.
//!
//! Equal to Pillow and so to torchvision's `ImageFolder` in what is done with a file: orientation tags and colour
//! profiles are not applied, transparency is dropped, CMYK is converted without a profile. One difference: Pillow clips
//! 16-bit grey levels above 255, which leaves white; here the upper byte is kept, as both do for 16-bit colours.

use std::path::Path;

use network::Shape;

use super::error::DataError;
use super::resize::{Region, fastest};
use super::{jpeg, portable};

/// Pixels a picture may have: beyond it Pillow warns of a bomb; a header may claim four billion in twenty bytes.
pub const MOST_PIXELS: usize = 89_478_485;

/// Which channels a decoded picture has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// One for grey pictures, three for all others.
    AsStored,
    /// Red, green and blue, equal to each other in grey pictures.
    Rgb,
}

/// A decoded picture.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Picture {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// One or three.
    pub channels: usize,
    /// Its bytes, `[H, W, C]`.
    pub pixels: Vec<u8>,
    /// Which part of it `pixels` holds; all, unless a part was asked for.
    pub(super) part: Region,
    /// Bytes from one pixel to the next: the channels, or four for three.
    pub(super) spacing: usize,
}

impl Picture {
    /// Its shape.
    pub fn shape(&self) -> Shape {
        Shape::new(self.channels, self.height, self.width)
    }

    /// Writes the bytes plane by plane.
    ///
    /// Shapes: `into` is `[C, H, W]`.
    pub fn planes(&self, into: &mut [u8]) {
        planes(&self.pixels, self.spacing, into);
    }

    /// Puts pixels that are four bytes apart side by side.
    fn pack(&mut self) {
        if self.spacing == self.channels {
            return;
        }
        let count = self.pixels.len() / self.spacing;
        for pixel in 0..count {
            let from = pixel * self.spacing;
            self.pixels.copy_within(from..from + self.channels, pixel * self.channels);
        }
        self.pixels.truncate(count * self.channels);
        self.spacing = self.channels;
    }
}

/// Whether the name ends as a picture's does: `.png`, `.jpg` or `.jpeg`, in any case.
pub fn is_picture(path: &Path) -> bool {
    path.extension().and_then(|extension| extension.to_str()).is_some_and(|extension| {
        ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    })
}

/// Decodes the bytes of a file called `name`; its first bytes, not its name, say which format it is.
///
/// `into` is overwritten and its memory used again. Units: bytes 0 to 255.
/// Errors: `Picture` if it is broken, of another format or larger than [`MOST_PIXELS`].
pub fn decode(
    file: &[u8],
    name: &Path,
    colours: Colours,
    into: &mut Picture,
) -> Result<(), DataError> {
    decode_part(file, name, colours, &Region::whole, into)?;
    into.pack();
    Ok(())
}

/// Which part of a picture of a width and a height is wanted.
pub(super) type Wanted<'a> = &'a dyn Fn(usize, usize) -> Region;

/// As [`decode`], but `into` may hold no more than the part that is wanted, and pixels four bytes apart.
pub(super) fn decode_part(
    file: &[u8],
    name: &Path,
    colours: Colours,
    wanted: Wanted<'_>,
    into: &mut Picture,
) -> Result<(), DataError> {
    let decoded = if file.is_empty() {
        Err("0 bytes, expected a PNG or JPEG file".to_owned())
    } else if file.starts_with(b"\x89PNG") {
        portable::decode(file, colours, into)
    } else if file.starts_with(&[0xff, 0xd8]) {
        jpeg::decode(file, colours, wanted, into)
    } else {
        let first = &file[..file.len().min(4)];
        Err(format!(
            "neither PNG nor JPEG data: it begins with {first:02x?}\n  hint: convert it to PNG"
        ))
    };
    decoded.map_err(|reason| DataError::Picture { path: name.to_owned(), reason })
}

/// Refuses a size before anything of that size is allocated.
pub(super) fn check_size(width: usize, height: usize) -> Result<(), String> {
    if width.saturating_mul(height) > MOST_PIXELS || width == 0 || height == 0 {
        return Err(format!(
            "the header says {width} x {height} pixels, expected 1 to {MOST_PIXELS} in all\n  \
             hint: a picture of this size is made smaller before training, or its header lies"
        ));
    }
    Ok(())
}

/// Pixel by pixel to plane by plane; of pixels of four bytes the last is left out.
pub(super) fn planes(pixels: &[u8], spacing: usize, into: &mut [u8]) {
    match spacing {
        1 => into.copy_from_slice(pixels),
        3 => {
            let (red, rest) = into.split_at_mut(pixels.len() / 3);
            let (green, blue) = rest.split_at_mut(pixels.len() / 3);
            let outputs = red.iter_mut().zip(green).zip(blue);
            for (pixel, ((red, green), blue)) in pixels.chunks_exact(3).zip(outputs) {
                (*red, *green, *blue) = (pixel[0], pixel[1], pixel[2]);
            }
        }
        4 => kernels::pixels::jpeg_colour::to_planes(fastest(), pixels, into),
        _ => unreachable!("a pixel has one, three or four bytes"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/pictures").join(name)
    }

    fn read(name: &str, colours: Colours) -> Result<Picture, DataError> {
        let mut picture = Picture::default();
        let file = fs::read(fixture(name)).unwrap();
        decode(&file, Path::new(name), colours, &mut picture).map(|()| picture)
    }

    fn stored(name: &str) -> Picture {
        read(name, Colours::AsStored).unwrap()
    }

    /// Decoders may round the inverse cosine transform and the colours differently; with shared chroma they also
    /// interpolate differently at edges. Tolerances in levels: the largest and the mean difference.
    #[test]
    fn g31_jpeg_gives_the_pixels_of_the_stored_reference() {
        for (name, largest, mean) in [
            ("grey", 1, 0.05),
            ("colour444", 2, 0.5),
            ("progressive", 2, 0.5),
            ("colour420", 3, 0.5),
            ("cmyk", 2, 0.5),
            ("ycck", 3, 0.5),
            ("turned", 2, 0.5),
        ] {
            let jpeg = stored(&format!("{name}.jpg"));
            let reference = stored(&format!("{name}.png"));
            assert_eq!(jpeg.shape(), reference.shape(), "{name}");
            let differences: Vec<u8> =
                jpeg.pixels.iter().zip(&reference.pixels).map(|(a, b)| a.abs_diff(*b)).collect();
            let worst = *differences.iter().max().unwrap();
            let average =
                differences.iter().map(|&d| f64::from(d)).sum::<f64>() / differences.len() as f64;

            assert!(worst <= largest && average <= mean, "{name}: {worst}, {average}");
        }
    }

    /// Expected values are what Pillow's `convert("RGB")` gives, except for 16-bit grey, where it gives white.
    #[test]
    fn g31_every_kind_of_png_is_read() {
        let opaque = stored("opaque-alpha.png");
        assert_eq!(opaque.shape(), Shape::new(3, 2, 2));
        assert_eq!(opaque.pixels, [1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]);
        let palette = stored("palette.png");
        assert_eq!(palette.pixels, [10, 20, 30, 40, 50, 60, 40, 50, 60, 10, 20, 30]);
        let one_bit = stored("one-bit.png");
        assert_eq!((one_bit.shape(), one_bit.pixels), (Shape::new(1, 2, 3), vec![255; 6]));
        let transparent = stored("transparent.png");
        assert_eq!((transparent.channels, &transparent.pixels[..3]), (3, &[1, 2, 3][..]));
        let deep = stored("sixteen-bit.png");
        assert_eq!((deep.shape(), deep.pixels), (Shape::new(1, 2, 2), vec![0, 1, 128, 255]));
        let deep = stored("sixteen-bit-colour.png");
        assert_eq!((deep.channels, deep.pixels), (3, vec![0, 1, 128, 255, 48, 16]));
    }

    #[test]
    fn grey_becomes_three_equal_channels_where_colours_are_asked_for() {
        for name in ["grey.jpg", "grey.png", "sixteen-bit.png"] {
            let (one, three) = (stored(name), read(name, Colours::Rgb).unwrap());
            assert_eq!((one.channels, three.channels), (1, 3));
            let repeated: Vec<u8> = one.pixels.iter().flat_map(|&grey| [grey; 3]).collect();
            assert_eq!(three.pixels, repeated, "{name}");
        }
    }

    #[test]
    fn planes_are_the_same_bytes_in_another_order() {
        let pixels = vec![1, 2, 3, 4, 5, 6];
        let picture = Picture { channels: 3, spacing: 3, pixels, ..Picture::default() };
        let mut planes = [0; 6];
        picture.planes(&mut planes);
        assert_eq!(planes, [1, 4, 2, 5, 3, 6]);
    }

    #[test]
    fn what_is_no_picture_is_named_with_what_was_found() {
        let error = read("README.md", Colours::Rgb).unwrap_err().to_string();
        assert!(error.contains("README.md: neither PNG nor JPEG"), "{error}");
        let mut picture = Picture::default();
        let error = decode(&[], Path::new("x.jpg"), Colours::Rgb, &mut picture).unwrap_err();
        assert_eq!(error.to_string(), "x.jpg: 0 bytes, expected a PNG or JPEG file");
    }

    /// Headers that claim 65,500 x 65,500 (JPEG) and 2^31 - 1 squared (PNG) pixels, refused before memory is asked for.
    #[test]
    fn a_bomb_is_refused_by_its_header() {
        let mut jpeg = fs::read(fixture("grey.jpg")).unwrap();
        let start = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        jpeg[start + 5..start + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
        let mut png = fs::read(fixture("grey.png")).unwrap();
        png[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
        let checksum = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&checksum.to_be_bytes());
        for (file, size) in [(jpeg, "65500 x 65500"), (png, "2147483647 x 2147483647")] {
            let mut picture = Picture::default();
            let error = decode(&file, Path::new("bomb"), Colours::Rgb, &mut picture).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(size) && message.contains("hint:"), "{message}");
            assert_eq!(picture.pixels.capacity(), 0);
        }
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum()
    }

    #[test]
    fn g31_a_picture_cut_short_anywhere_is_an_error() {
        for name in ["grey.jpg", "colour420.jpg", "progressive.jpg", "cmyk.jpg", "colour444.png"] {
            let whole = fs::read(fixture(name)).unwrap();
            let mut picture = Picture::default();
            let mut decode =
                |file: &[u8]| decode(file, Path::new(name), Colours::Rgb, &mut picture);
            assert!(decode(&whole).is_ok());
            for length in 0..whole.len() - 1 {
                assert!(decode(&whole[..length]).is_err(), "{name} {length} of {}", whole.len());
            }
        }
    }
}
