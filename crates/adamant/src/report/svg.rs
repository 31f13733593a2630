//! A drawing as SVG: text, no dependency, sharp at any size.

use super::drawing::{Anchor, Color, Drawing, LETTER, Shape};
use super::raster::png;
use std::fmt::Write;

impl Drawing {
    /// The text of an SVG file.
    pub fn to_svg(&self) -> String {
        let (width, height) = (self.width, self.height);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"monospace\" font-size=\"{}\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"{}\"/>\n",
            // Monospaced letters are about 0.6 of their size wide.
            LETTER / 0.6,
            hex(Color::PAPER),
        );
        for shape in &self.shapes {
            add(&mut svg, shape).expect("a string takes what is written");
        }
        svg += "</svg>\n";
        svg
    }
}

fn add(svg: &mut String, shape: &Shape) -> std::fmt::Result {
    match shape {
        Shape::Line { points, color, width } => writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\" \
             stroke-linejoin=\"round\"/>",
            list(points),
            hex(*color)
        ),
        Shape::Area { points, color } => {
            writeln!(svg, "<polygon points=\"{}\" fill=\"{}\"/>", list(points), hex(*color))
        }
        Shape::Dot { at: (x, y), radius, color } => {
            writeln!(svg, "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" fill=\"{}\"/>", hex(*color))
        }
        Shape::Text { at: (x, y), text, anchor, color } => {
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            let text = escaped(text);
            writeln!(
                svg,
                "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" fill=\"{}\">{text}</text>",
                hex(*color)
            )
        }
        Shape::Image { at: (x, y), scale, tile } => {
            let (width, height) = (tile.width * scale, tile.height * scale);
            let bytes: Vec<u8> = tile.pixels.iter().flat_map(|color| color.0).collect();
            writeln!(
                svg,
                "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" \
                 style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{}\"/>",
                base64(&png(tile.width, tile.height, &bytes))
            )
        }
    }
}

fn hex(Color([red, green, blue]): Color) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn list(points: &[(f32, f32)]) -> String {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    points.join(" ")
}

/// Text in which no letter means something in XML or HTML, between tags and in attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            other => safe.push(other),
        }
    }
    safe
}

/// Source: RFC 4648, section 4.
pub(super) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for letter in 0..4 {
            // A byte needs two letters, two bytes three, three bytes four; the rest is padding.
            let index = (bits >> (18 - 6 * letter) & 63) as usize;
            text.push(if letter <= three.len() { LETTERS[index] as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_gives_the_test_vectors_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn letters_that_mean_something_in_svg_are_written_as_entities() {
        let mut drawing = Drawing::new(10, 10);
        drawing.text((1.0, 2.0), Anchor::Start, "a < b & c");
        assert!(drawing.to_svg().contains(">a &lt; b &amp; c</text>"));
    }
}
