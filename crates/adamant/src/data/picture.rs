//! One PNG or JPEG file to bytes `[C, H, W]`.
//!
//! Grey pictures have one channel, all others three. What cannot be read without a choice that changes pixels
//! (16 bits a channel, transparency, CMYK) is refused rather than guessed.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use network::Shape;
use png::{BitDepth, ColorType, Transformations};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::error::DataError;

/// A decoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its shape.
    pub shape: Shape,
    /// Its bytes, `[C, H, W]`.
    pub bytes: Vec<u8>,
}

/// Whether the name ends as a picture's does: `.png`, `.jpg` or `.jpeg`, in any case.
pub fn is_picture(path: &Path) -> bool {
    path.extension().and_then(|extension| extension.to_str()).is_some_and(|extension| {
        ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    })
}

/// Decodes a file; its first bytes, not its name, say which format it is.
///
/// Units: bytes 0 to 255, as stored; colour profiles and orientation tags are not applied.
/// Errors: `Io`; `Picture` if it is broken or of a kind that is refused.
pub fn decode(path: &Path) -> Result<Picture, DataError> {
    let file = fs::read(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    let decoded = if file.starts_with(b"\x89PNG") {
        decode_png(&file)
    } else if file.starts_with(&[0xff, 0xd8]) {
        decode_jpeg(&file)
    } else {
        Err("neither PNG nor JPEG data".to_owned())
    };
    decoded.map_err(|reason| DataError::Picture { path: path.to_owned(), reason })
}

fn decode_png(file: &[u8]) -> Result<Picture, String> {
    let broken = |error: png::DecodingError| format!("broken PNG: {error}");
    let mut decoder = png::Decoder::new(Cursor::new(file));
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(broken)?;
    let (color, depth) = reader.output_color_type();
    if depth != BitDepth::Eight {
        return Err("16 bits a channel, expected 8\n  hint: convert it, so that you choose \
                    how values are rounded"
            .to_owned());
    }
    let size = reader.output_buffer_size().ok_or("a PNG larger than memory")?;
    let mut pixels = vec![0; size];
    reader.next_frame(&mut pixels).map_err(broken)?;
    // Reads to the end of the file: a PNG cut off behind its pixels is still a broken file.
    reader.finish().map_err(broken)?;
    let (height, width) = (reader.info().height as usize, reader.info().width as usize);
    let (stored, kept) = match color {
        ColorType::Grayscale => (1, 1),
        ColorType::GrayscaleAlpha => (2, 1),
        ColorType::Rgb => (3, 3),
        ColorType::Rgba => (4, 3),
        ColorType::Indexed => unreachable!("EXPAND turns palettes into RGB"),
    };
    if stored > kept && pixels.chunks_exact(stored).any(|pixel| pixel[kept] != 255) {
        return Err("transparent pixels, expected none\n  hint: put it on a background, so that \
                    you choose the colour behind"
            .to_owned());
    }
    Ok(planes(&pixels, stored, Shape::new(kept, height, width)))
}

fn decode_jpeg(file: &[u8]) -> Result<Picture, String> {
    // The decoder, even when strict, fills in the end of a file that stops within its last blocks. Compressed data
    // never contains a marker, so a whole file has its end marker behind its last start of scan.
    let last = |marker: u8| file.windows(2).rposition(|pair| pair == [0xff, marker]);
    let (start_of_scan, end_of_image) = (last(0xda), last(0xd9));
    if end_of_image.is_none() || end_of_image < start_of_scan {
        return Err("broken JPEG: it ends before its end marker".to_owned());
    }
    // Strict: otherwise missing data in the middle becomes plain grey without an error.
    let options = DecoderOptions::default().set_strict_mode(true);
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(file), options);
    let broken = |error| format!("broken JPEG: {error:?}");
    decoder.decode_headers().map_err(broken)?;
    let (channels, output) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (1, ColorSpace::Luma),
        Some(ColorSpace::YCbCr | ColorSpace::RGB) => (3, ColorSpace::RGB),
        other => return Err(format!("JPEG colours are {other:?}, expected grey or RGB")),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(output));
    let pixels = decoder.decode().map_err(broken)?;
    let info = decoder.info().ok_or("a JPEG without a header")?;
    let shape = Shape::new(channels, info.height.into(), info.width.into());
    if pixels.len() != shape.len() {
        return Err(format!("{} decoded bytes, expected {}", pixels.len(), shape.len()));
    }
    Ok(planes(&pixels, channels, shape))
}

/// Pixel by pixel to plane by plane, leaving out stored channels beyond `shape.channels`.
fn planes(pixels: &[u8], stored: usize, shape: Shape) -> Picture {
    let bytes = (0..shape.channels)
        .flat_map(|channel| pixels.iter().skip(channel).step_by(stored).copied())
        .collect();
    Picture { shape, bytes }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/pictures").join(name)
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
        ] {
            let jpeg = decode(&fixture(&format!("{name}.jpg"))).unwrap();
            let reference = decode(&fixture(&format!("{name}.png"))).unwrap();
            assert_eq!(jpeg.shape, reference.shape, "{name}");
            let differences: Vec<u8> =
                jpeg.bytes.iter().zip(&reference.bytes).map(|(a, b)| a.abs_diff(*b)).collect();
            let worst = *differences.iter().max().unwrap();
            let average =
                differences.iter().map(|&d| f64::from(d)).sum::<f64>() / differences.len() as f64;

            assert!(worst <= largest && average <= mean, "{name}: {worst}, {average}");
        }
    }

    #[test]
    fn g31_every_kind_of_eight_bit_png_is_read() {
        let opaque = decode(&fixture("opaque-alpha.png")).unwrap();
        assert_eq!(opaque.shape, Shape::new(3, 2, 2));
        assert_eq!(opaque.bytes, [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]);
        let palette = decode(&fixture("palette.png")).unwrap();
        assert_eq!(palette.bytes, [10, 40, 40, 10, 20, 50, 50, 20, 30, 60, 60, 30]);
        let one_bit = decode(&fixture("one-bit.png")).unwrap();
        assert_eq!((one_bit.shape, one_bit.bytes), (Shape::new(1, 2, 3), vec![255; 6]));
    }

    #[test]
    fn pictures_that_would_need_a_choice_are_refused() {
        for (name, word) in [
            ("unsupported/sixteen-bit.png", "16 bits"),
            ("unsupported/transparent.png", "transparent"),
            ("unsupported/cmyk.jpg", "CMYK"),
            ("README.md", "neither PNG nor JPEG"),
        ] {
            let error = decode(&fixture(name)).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains(name), "{error}");
        }
    }

    #[test]
    fn g31_a_picture_cut_short_anywhere_is_an_error() {
        for name in ["grey.jpg", "colour420.jpg", "progressive.jpg", "colour444.png"] {
            let whole = fs::read(fixture(name)).unwrap();
            let decode = if name.ends_with("png") { decode_png } else { decode_jpeg };
            assert!(decode(&whole).is_ok());
            for length in 0..whole.len() - 1 {
                assert!(decode(&whole[..length]).is_err(), "{name} {length} of {}", whole.len());
            }
        }
    }
}
