//! Images before and after an attack, side by side, with what the network says of them.

use super::drawing::{Anchor, Color, Drawing, Shape, Tile};
use crate::image::Images;

/// One image of a grid, by its place among the images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GridRow {
    /// Its place.
    pub position: usize,
    /// What stands beside the image.
    pub before: String,
    /// What stands beside the adversarial image.
    pub after: String,
}

/// Image, perturbation and adversarial image, a row each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid<'a> {
    /// What is shown: attack, threat.
    pub title: &'a str,
    /// Before.
    pub images: &'a Images,
    /// After.
    pub adversarial: &'a Images,
    /// By how much perturbations are enlarged around grey; stated in the picture.
    pub amplification: f32,
    /// Which of them.
    pub rows: &'a [GridRow],
}

const GAP: f32 = 16.0;
const TOP: f32 = 56.0;
const COLUMN: f32 = 176.0;

impl Grid<'_> {
    /// The grid on a page. Images of one channel are grey, of three coloured; of others the first channel is shown.
    pub fn draw(&self) -> Drawing {
        let shape = self.images.shape;
        let scale = (96 / shape.height.max(shape.width)).max(1);
        let (width, height) = ((shape.width * scale) as f32, (shape.height * scale) as f32);
        let column = COLUMN.max(width + GAP);
        let row_height = height + 2.0 * GAP;
        let page_width = 3.0 * column + 2.0 * GAP;
        let page_height = TOP + row_height * self.rows.len() as f32;
        let mut page = Drawing::new(page_width as usize, page_height.ceil() as usize);
        page.text((GAP, 20.0), Anchor::Start, self.title);
        let enlarged = format!("change x {}", self.amplification);
        for (place, head) in ["image", &enlarged, "adversarial"].into_iter().enumerate() {
            page.text((GAP + column * place as f32, 44.0), Anchor::Start, head);
        }
        for (row, GridRow { position, before, after }) in self.rows.iter().enumerate() {
            let y = TOP + row_height * row as f32;
            let (image, adversarial) =
                (self.images.one(*position), self.adversarial.one(*position));
            let change =
                |place: usize| 0.5 + self.amplification * (adversarial[place] - image[place]);
            let tiles = [
                tile(self.images, &|place| image[place]),
                tile(self.images, &change),
                tile(self.images, &|place| adversarial[place]),
            ];
            for (place, (tile, below)) in
                tiles.into_iter().zip([before.as_str(), "", after]).enumerate()
            {
                let x = GAP + column * place as f32;
                page.shapes.push(Shape::Image { at: (x, y), scale, tile });
                page.text((x, y + height + 12.0), Anchor::Start, below);
            }
        }
        page
    }
}

/// One image of a batch, or what is made of it: `value` gives the number at a place in memory, 0 to 1.
pub(super) fn tile(images: &Images, value: &dyn Fn(usize) -> f32) -> Tile {
    let shape = images.shape;
    let plane = shape.height * shape.width;
    let byte = |place: usize| (value(place).clamp(0.0, 1.0) * 255.0).round() as u8;
    let color = |pixel: usize| match shape.channels {
        3 => Color([byte(pixel), byte(plane + pixel), byte(2 * plane + pixel)]),
        _ => Color([byte(pixel); 3]),
    };
    Tile { width: shape.width, height: shape.height, pixels: (0..plane).map(color).collect() }
}
