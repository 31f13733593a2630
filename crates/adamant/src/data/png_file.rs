//! Planes of bytes as a PNG file.

use network::Shape;

/// The bytes of a PNG file; the same for the same pixels.
///
/// Shapes: `planes` is `[C, H, W]` of one or three channels.
pub(super) fn encode(shape: Shape, planes: &[u8]) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(planes.len());
    let plane = shape.height * shape.width;
    for position in 0..plane {
        pixels.extend((0..shape.channels).map(|channel| planes[channel * plane + position]));
    }
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, shape.width as u32, shape.height as u32);
    encoder.set_color(match shape.channels {
        1 => png::ColorType::Grayscale,
        _ => png::ColorType::Rgb,
    });
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("memory takes what is written");
    writer.write_image_data(&pixels).expect("as many bytes as pixels");
    drop(writer);
    file
}
