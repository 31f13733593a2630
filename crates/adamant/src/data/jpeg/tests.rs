//! Both decoders against each other and against Pillow.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::picture;
use super::super::resize::Region;
use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/pictures").join(name)
}

fn read(name: &str) -> Picture {
    let mut picture = Picture::default();
    let file = fs::read(fixture(name)).unwrap();
    picture::decode(&file, Path::new(name), Colours::AsStored, &mut picture).unwrap();
    picture
}

/// Stored references are Pillow's; equal to the bit, where the group allows differences.
#[test]
fn g31_an_ordinary_jpeg_has_the_bytes_of_pillow() {
    for name in ["grey", "colour444", "colour422", "colour420", "restarts", "turned"] {
        let file = fs::read(fixture(&format!("{name}.jpg"))).unwrap();
        assert!(Header::read(&file).is_some(), "{name} is read by our own decoder");
        assert_eq!(
            read(&format!("{name}.jpg")).pixels,
            read(&format!("{name}.png")).pixels,
            "{name}"
        );
    }
}

#[test]
fn what_is_not_ordinary_is_left_to_the_other_decoder() {
    for name in ["progressive.jpg", "cmyk.jpg", "ycck.jpg"] {
        assert!(Header::read(&fs::read(fixture(name)).unwrap()).is_none(), "{name}");
    }
}

#[test]
fn a_part_has_the_bytes_that_it_has_in_the_whole() {
    for name in ["grey.jpg", "colour444.jpg", "colour422.jpg", "colour420.jpg", "restarts.jpg"] {
        let whole = read(name);
        let file = fs::read(fixture(name)).unwrap();
        for (left, top) in [(0, 0), (1, 1), (7, 8), (8, 15), (16, 9), (30, 22)] {
            for (width, height) in [(1, 1), (2, 3), (7, 7), (37 - left, 29 - top)] {
                let part = Region { left, top, width, height };
                let mut picture = Picture::default();
                decode(&file, Colours::AsStored, &|_, _| part, &mut picture).unwrap();
                let (channels, spacing) = (picture.channels, picture.spacing);
                for (row, line) in picture.pixels.chunks_exact(width * spacing).enumerate() {
                    for (column, pixel) in line.chunks_exact(spacing).enumerate() {
                        let at = ((top + row) * 37 + left + column) * channels;
                        assert_eq!(
                            pixel[..channels],
                            whole.pixels[at..at + channels],
                            "{name} {part:?}"
                        );
                    }
                }
            }
        }
    }
}

/// Each byte of a file is replaced by others: an error or a picture of some kind, never a panic.
#[test]
fn damaged_bytes_are_an_error_or_a_picture() {
    for name in ["grey.jpg", "colour420.jpg", "restarts.jpg"] {
        let file = fs::read(fixture(name)).unwrap();
        let mut picture = Picture::default();
        for at in 0..file.len() {
            for byte in [0, 0x7f, 0xff, file[at] ^ 0x10] {
                let mut damaged = file.clone();
                damaged[at] = byte;
                // Sizes that a changed header claims are bounded before they are allocated, but still slow to fill.
                let is_small = Header::read(&damaged).is_none_or(|h| h.width * h.height < 1 << 20);
                if is_small {
                    drop(decode(&damaged, Colours::Rgb, &Region::whole, &mut picture));
                }
            }
        }
    }
}
