//! PNG (portable network graphics) files to bytes.

use std::io::Cursor;

use png::{ColorType, Limits, Transformations};

use super::picture::{Colours, MOST_PIXELS, Picture, check_size};
use super::resize::Region;

/// Decodes a PNG file: palettes become colours, 16 bits a channel their upper eight, transparency is dropped.
pub(super) fn decode(file: &[u8], colours: Colours, into: &mut Picture) -> Result<(), String> {
    let broken = |error: png::DecodingError| format!("broken PNG: {error}");
    if let Some((width, height)) = size_in_header(file) {
        check_size(width, height)?;
    }
    // Eight bytes a pixel is the most that a row of any kind takes while it is decoded.
    let limits = Limits { bytes: MOST_PIXELS * 8 };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(file), limits);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(broken)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    let stored = match reader.output_color_type().0 {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
        ColorType::Indexed => unreachable!("EXPAND turns palettes into RGB"),
    };
    let size = reader.output_buffer_size().ok_or("a PNG larger than memory")?;
    into.pixels.resize(size, 0);
    reader.next_frame(&mut into.pixels).map_err(broken)?;
    // Reads to the end of the file: a PNG cut off behind its pixels is still a broken file.
    reader.finish().map_err(broken)?;
    into.pixels.truncate(width * height * stored);
    (into.width, into.height) = (width, height);
    into.channels = match (stored, colours) {
        (1 | 2, Colours::AsStored) => 1,
        _ => 3,
    };
    (into.spacing, into.part) = (into.channels, Region::whole(width, height));
    rearrange(&mut into.pixels, stored, into.channels);
    Ok(())
}

/// Width and height, where the first chunk is a header; anything else is for the decoder to refuse.
fn size_in_header(file: &[u8]) -> Option<(usize, usize)> {
    let number = |at: usize| Some(u32::from_be_bytes(file.get(at..at + 4)?.try_into().ok()?));
    let is_header = file.get(12..16)? == b"IHDR";
    is_header.then_some((number(16)? as usize, number(20)? as usize))
}

/// Drops alpha, and repeats grey where three channels are wanted, in place.
fn rearrange(pixels: &mut Vec<u8>, stored: usize, channels: usize) {
    if stored == channels {
        return;
    }
    let count = pixels.len() / stored;
    if stored > channels {
        for pixel in 0..count {
            for channel in 0..channels {
                pixels[pixel * channels + channel] = pixels[pixel * stored + channel];
            }
        }
        pixels.truncate(count * channels);
        return;
    }
    pixels.resize(count * channels, 0);
    // From behind, so that no byte is overwritten before it is read.
    for pixel in (0..count).rev() {
        let grey = pixels[pixel * stored];
        pixels[pixel * channels..][..channels].fill(grey);
    }
}
