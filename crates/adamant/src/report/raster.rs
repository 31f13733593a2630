//! A drawing as pixels. A few shapes need no library: each is drawn at twice the size and averaged down once.

use super::drawing::{Anchor, Color, Drawing, LETTER, Shape};
use super::glyphs::glyph;

/// Fine pixels per point, each way.
const FINE: usize = 4;
/// Fine pixels per pixel of the picture: two pixels a point, each smoothed over 2x2.
const SMOOTH: usize = 2;

impl Drawing {
    /// The bytes of a PNG file, two pixels a point.
    pub fn to_png(&self) -> Vec<u8> {
        let mut canvas = Canvas::new(self.width * FINE, self.height * FINE);
        self.shapes.iter().for_each(|shape| canvas.draw(shape));
        let (width, height) = (canvas.width / SMOOTH, canvas.height / SMOOTH);
        let mut bytes = Vec::with_capacity(width * height * 3);
        for row in 0..height {
            for column in 0..width {
                for channel in 0..3 {
                    let mut sum = 0;
                    for down in 0..SMOOTH {
                        for right in 0..SMOOTH {
                            let place =
                                (row * SMOOTH + down) * canvas.width + column * SMOOTH + right;
                            sum += usize::from(canvas.pixels[place].0[channel]);
                        }
                    }
                    bytes.push((sum / (SMOOTH * SMOOTH)) as u8);
                }
            }
        }
        png(width, height, &bytes)
    }
}

/// The bytes of a PNG file of red, green and blue bytes.
pub(super) fn png(width: usize, height: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("memory takes what is written");
    writer.write_image_data(bytes).expect("as many bytes as pixels");
    drop(writer);
    file
}

struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Color>,
}

impl Canvas {
    fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![Color::PAPER; width * height] }
    }

    fn draw(&mut self, shape: &Shape) {
        match shape {
            Shape::Line { points, color, width } => {
                for pair in points.windows(2) {
                    self.segment(pair[0], pair[1], 0.5 * width, *color);
                }
            }
            Shape::Area { points, color } => self.area(points, *color),
            Shape::Dot { at, radius, color } => self.segment(*at, *at, *radius, *color),
            Shape::Text { at, text, anchor, color } => self.text(*at, text, *anchor, *color),
            Shape::Image { at: (x, y), scale, tile } => {
                let (left, top) = (fine(*x), fine(*y));
                let side = (scale * FINE) as i64;
                for (place, &color) in tile.pixels.iter().enumerate() {
                    let column = left + (place % tile.width) as i64 * side;
                    let row = top + (place / tile.width) as i64 * side;
                    self.rectangle(column, row, side, side, color);
                }
            }
        }
    }

    /// All fine pixels nearer than `radius` points to the line between two points.
    fn segment(&mut self, from: (f32, f32), to: (f32, f32), radius: f32, color: Color) {
        let radius = radius.max(0.5 / FINE as f32);
        let range = |a: f32, b: f32| (fine(a.min(b) - radius), fine(a.max(b) + radius) + 1);
        let ((left, right), (top, bottom)) = (range(from.0, to.0), range(from.1, to.1));
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = dx * dx + dy * dy;
        for row in top..bottom {
            for column in left..right {
                let (x, y) = (point(column) - from.0, point(row) - from.1);
                let along =
                    if length > 0.0 { ((x * dx + y * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
                let (off_x, off_y) = (x - along * dx, y - along * dy);
                if off_x * off_x + off_y * off_y <= radius * radius {
                    self.set(column, row, color);
                }
            }
        }
    }

    /// Inside by the even-odd rule: a ray to the left crosses the border an odd number of times.
    fn area(&mut self, points: &[(f32, f32)], color: Color) {
        let ys = points.iter().map(|point| point.1);
        let (top, bottom) =
            ys.fold((f32::MAX, f32::MIN), |(low, high), y| (low.min(y), high.max(y)));
        for row in fine(top)..=fine(bottom) {
            let y = point(row);
            let mut crossings: Vec<f32> = Vec::new();
            for (place, &(x1, y1)) in points.iter().enumerate() {
                let (x2, y2) = points[(place + 1) % points.len()];
                if (y1 <= y) != (y2 <= y) {
                    crossings.push(x1 + (y - y1) / (y2 - y1) * (x2 - x1));
                }
            }
            crossings.sort_by(f32::total_cmp);
            for pair in crossings.chunks_exact(2) {
                for column in fine(pair[0])..fine(pair[1]) {
                    self.set(column, row, color);
                }
            }
        }
    }

    fn text(&mut self, at: (f32, f32), text: &str, anchor: Anchor, color: Color) {
        let width = LETTER * text.chars().count() as f32;
        let left = match anchor {
            Anchor::Start => at.0,
            Anchor::Middle => at.0 - 0.5 * width,
            Anchor::End => at.0 - width,
        };
        // A letter is 8x8 dots of a point each; the last row lies below the line.
        let dot = FINE as i64;
        for (place, letter) in text.chars().enumerate() {
            let x = fine(left + LETTER * place as f32);
            let y = fine(at.1 - LETTER + 1.0);
            for (row, bits) in glyph(letter).into_iter().enumerate() {
                for column in 0..8 {
                    if bits >> column & 1 == 1 {
                        self.rectangle(x + column * dot, y + row as i64 * dot, dot, dot, color);
                    }
                }
            }
        }
    }

    fn rectangle(&mut self, left: i64, top: i64, width: i64, height: i64, color: Color) {
        for row in top..top + height {
            for column in left..left + width {
                self.set(column, row, color);
            }
        }
    }

    /// What lies off the page is cut off.
    fn set(&mut self, column: i64, row: i64, color: Color) {
        let inside =
            |value: i64, length: usize| usize::try_from(value).ok().filter(|v| *v < length);
        if let (Some(column), Some(row)) = (inside(column, self.width), inside(row, self.height)) {
            self.pixels[row * self.width + column] = color;
        }
    }
}

fn fine(points: f32) -> i64 {
    (points * FINE as f32).round() as i64
}

fn point(fine: i64) -> f32 {
    (fine as f32 + 0.5) / FINE as f32
}
