//! JPEG files to pixels: ordinary photographs by a decoder that does no more than a crop needs, all others by zune-jpeg.
//!
//! Training takes a part of each photograph, and most of the time of a step that waits for data is JPEG. [`baseline`]
//! reads what cameras and ImageNet have (Huffman codes, eight bits, one scan, grey or luma and chroma), transforms only the blocks that
//! the crop touches and gives libjpeg's bits, hence Pillow's. Whatever it does not know it leaves to [`any`].

mod any;
mod baseline;
mod bits;
mod component;
mod header;
mod huffman;

use super::picture::{Colours, Picture, Wanted, check_size};
use header::Header;

/// Decodes what is wanted of a JPEG file.
pub(super) fn decode(
    file: &[u8],
    colours: Colours,
    wanted: Wanted<'_>,
    into: &mut Picture,
) -> Result<(), String> {
    // Compressed data never contains a marker, so a whole file has its end marker behind its last start of scan.
    // Decoders fill in the end of a file that stops within its last blocks.
    if !ends(file) {
        return Err(format!("broken JPEG: {} bytes end before its end marker", file.len()));
    }
    match Header::read(file) {
        Some(header) => {
            check_size(header.width, header.height)?;
            baseline::decode(file, &header, colours, wanted, into)
        }
        None => any::decode(file, colours, into),
    }
}

/// Whether an end marker follows the last start of scan.
fn ends(file: &[u8]) -> bool {
    // From behind: in a whole file the end marker is among the last bytes.
    for pair in file.windows(2).rev() {
        match pair {
            [0xff, 0xd9] => return true,
            [0xff, 0xda] => return false,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests;
