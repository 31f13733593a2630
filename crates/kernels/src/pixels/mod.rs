//! The inner loops of reading pictures: whole numbers throughout, so all instruction sets give the same bytes.

pub mod inverse_cosine;
pub mod jpeg_colour;
pub mod resample;
