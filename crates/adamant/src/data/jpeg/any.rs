//! Every kind of JPEG file to pixels, by zune-jpeg: progressive, CMYK, other samplings.

use std::io::Cursor;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::super::picture::{Colours, Picture, check_size};
use super::super::resize::Region;

/// Decodes a JPEG file; CMYK and YCCK are read as Adobe writes them and become red, green and blue as in Pillow.
pub fn decode(file: &[u8], colours: Colours, into: &mut Picture) -> Result<(), String> {
    // Strict: otherwise missing data in the middle becomes plain grey without an error.
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(file), options);
    let broken = |error| format!("broken JPEG: {error:?}");
    decoder.decode_headers().map_err(broken)?;
    let info = decoder.info().ok_or("a JPEG without a header")?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    check_size(width, height)?;
    let input = decoder.input_colorspace().ok_or("a JPEG without a header")?;
    let (channels, output) = match (input, colours) {
        (ColorSpace::Luma, Colours::AsStored) => (1, ColorSpace::Luma),
        (ColorSpace::Luma | ColorSpace::YCbCr | ColorSpace::RGB, _) => (3, ColorSpace::RGB),
        (ColorSpace::CMYK | ColorSpace::YCCK, _) => (4, input),
        (other, _) => {
            return Err(format!("JPEG colours are {other:?}, expected grey, RGB or CMYK"));
        }
    };
    decoder.set_options(options.jpeg_set_out_colorspace(output));
    into.pixels.resize(width * height * channels, 0);
    decoder.decode_into(&mut into.pixels).map_err(broken)?;
    (into.width, into.height, into.channels) = (width, height, channels);
    into.part = Region::whole(width, height);
    if channels == 4 {
        to_rgb(&mut into.pixels, input == ColorSpace::YCCK);
        into.pixels.truncate(width * height * 3);
        into.channels = 3;
    }
    into.spacing = into.channels;
    Ok(())
}

/// Four bytes a pixel to three, in place. Source: Pillow, `CMYK;I` (Adobe stores inverted values) and `cmyk2rgb`.
fn to_rgb(pixels: &mut [u8], is_ycck: bool) {
    for pixel in 0..pixels.len() / 4 {
        let from = &pixels[pixel * 4..pixel * 4 + 4];
        let (mut inks, black) = ([from[0], from[1], from[2]], u32::from(from[3]));
        if is_ycck {
            // Source: libjpeg, `ycck_cmyk_convert`: the colours come out as ink, which is what is not missing.
            inks = ycc_to_rgb(inks).map(|colour| 255 - colour);
        }
        for (channel, ink) in inks.into_iter().enumerate() {
            // Stored values say how much ink is missing; `black` is what no black ink covers.
            let product = (255 - u32::from(ink)) * black + 128;
            let covered = ((product >> 8) + product) >> 8;
            pixels[pixel * 3 + channel] = black.saturating_sub(covered) as u8;
        }
    }
}

/// Source: JFIF 1.02, conversion to and from RGB; rounded to nearest.
fn ycc_to_rgb([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb]
        .map(|value| value.round().clamp(0.0, 255.0) as u8)
}
