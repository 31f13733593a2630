//! Letters of 8x8 dots.

use font8x8::legacy::BASIC_LEGACY;

/// The rows of a letter, from above; the lowest bit of a row is its leftmost dot. What is not ASCII shows as `?`.
pub(super) fn glyph(letter: char) -> [u8; 8] {
    let letter = if letter.is_ascii() { letter } else { '?' };
    BASIC_LEGACY[letter as usize]
}
